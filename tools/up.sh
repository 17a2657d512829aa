#!/bin/sh
# `make up`, after `make deps`: the image, the doctor, then the server in the foreground; with `down`, that server's end. IMAGE, DATA and
# LISTEN are short for SPRITES_IMAGE, SPRITES_DATA and SPRITES_LISTEN.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
: "${SPRITES_IMAGE:=${IMAGE:-dev}}" "${SPRITES_DATA:=${DATA:-/var/lib/opensprites}}" "${SPRITES_LISTEN:=${LISTEN:-127.0.0.1:7777}}"
export SPRITES_IMAGE SPRITES_DATA SPRITES_LISTEN

if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null 2>&1 || {
    echo "up: the server mounts file systems and makes namespaces: run 'make ${1:-up}' as root (no sudo here)" >&2
    exit 1
  }
  echo "up: continuing as root through sudo"
  # All settings are named SPRITES_*; nothing else of the environment is the server's business.
  exec sudo env $(env | sed -n 's/^\(SPRITES_[A-Z_]*=[^[:space:]]*\)$/\1/p') "$0" "$@"
fi

[ "${1:-up}" != down ] || exec "$root/bin/spritesd" stop

"$root/bin/node24" "$root/images/build.ts" --image "$SPRITES_IMAGE"
"$root/bin/node24" "$root/tools/doctor.ts" || {
  echo "up: not starting: see -> above" >&2
  exit 1
}
echo
exec "$root/bin/node24" "$root/tools/up.ts"
