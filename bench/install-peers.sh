#!/bin/sh
# Installs what `make bench` compares with, and nothing else needs: podman and s3backer from Debian.
set -eu

missing=
[ -x /usr/bin/podman ] || missing="$missing podman"
[ -x /usr/bin/s3backer ] || missing="$missing s3backer"
[ -n "$missing" ] || exit 0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

echo "bench: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq >&2
# shellcheck disable=SC2086 # Several packages, each a word.
as_root apt-get install -y -qq --no-install-recommends $missing >&2
