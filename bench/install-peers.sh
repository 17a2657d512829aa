#!/bin/sh
# Installs what `make bench` compares with, and nothing else needs: podman, s3backer, rclone and nginx from Debian; and Ceph, which plays the
# bucket.
set -eu

# One line a need: a file that proves it, and the package that brings it. rclone mounts through fuse3's fusermount.
needs='
/usr/bin/podman podman
/usr/bin/s3backer s3backer
/usr/bin/rclone rclone
/usr/bin/socat socat
/usr/sbin/nginx nginx-light
/usr/bin/fusermount fuse3
/usr/bin/radosgw radosgw
/usr/bin/ceph-mon ceph-mon
/usr/bin/ceph-osd ceph-osd
/usr/bin/ceph-authtool ceph-common
'

missing=$(printf '%s\n' "$needs" | while read -r file package; do
  [ -z "$file" ] || [ -x "$file" ] || printf '%s ' "$package"
done)
[ -n "$missing" ] || exit 0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

echo "bench: installing $missing" >&2
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq >&2
# shellcheck disable=SC2086 # Several packages, each a word.
as_root apt-get install -y -qq --no-install-recommends $missing >&2

# Debian starts it as a service of the machine, which nobody asked for; the bench starts its own.
case " $missing " in
*" nginx-light "*) [ ! -d /run/systemd/system ] || as_root systemctl disable --now --quiet nginx >&2 ;;
esac
