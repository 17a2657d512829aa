/**
 * The container's first process: a shell script run by the host's static BusyBox, which then waits.
 * It works in a container whose /usr and /etc are gone, and writes the files in /etc from inside,
 * as the guest's root: on a path that the guest has turned into a link, only the guest's own files
 * can be hit.
 */

import { createHash } from "node:crypto";
import { hostKeySecondsMax } from "./limits.ts";

/** Where the host's BusyBox is seen inside. */
export const busyboxPath = "/.sprite/bin/busybox";

/** The line that tells the agent that the files are in place. */
export const readyLine = "sprite-ready";

/** What a container that was started without a name says when it has got one. */
export const namedLine = "sprite-named";

export interface InitFiles {
  /** Whose the machine id is. */
  spriteId: string;
  hostname: string;
  nameserver: string;
  /** The disk began as another sprite's: whatever says who that one is is made anew, once. */
  isFork: boolean;
  /** The name is not known yet: it comes as a line of the standard input, later. */
  isSpare: boolean;
}

/**
 * What /etc/machine-id gets: 128 bits in hexadecimal, as machine-id(5) has it. The same at each start, so that a
 * start that was cut short is gone on with.
 */
export function machineId(spriteId: string): string {
  return createHash("sha256")
    .update(`opensprites machine-id ${spriteId}`)
    .digest("hex")
    .slice(0, 32);
}

export function resolverFile(nameserver: string): string {
  return `nameserver ${nameserver}\noptions timeout:2 attempts:2\n`;
}

/**
 * argv of the first process. All values travel as arguments, so that none is ever parsed as shell
 * code.
 */
export function initArguments(files: InitFiles): string[] {
  return [
    busyboxPath,
    "sh",
    "-c",
    initScript,
    "init",
    files.hostname,
    resolverFile(files.nameserver),
    machineId(files.spriteId),
    files.isFork ? "fork" : "",
    files.isSpare ? "spare" : "",
  ];
}

/**
 * Its standard input is held open by the agent: when the agent is gone, however it ended, so is the
 * container.
 */
const initScript = `
hostname=$1 resolver=$2 machine_id=$3 fork=$4 spare=$5 done=${readyLine} b=${busyboxPath}
exec 2>/dev/null
umask 022

# An ordinary directory, whatever stands there now.
directory() { [ -d "$1" ] || { $b rm -f "$1"; $b mkdir -p "$1"; }; }
# An ordinary file with exactly this content. cmp reads no further than the first difference: the
# file may be larger than the guest's memory.
holds() { ! [ -L "$1" ] && [ -f "$1" ] && echo "$2" | $b cmp -s - "$1"; }
# Written anew only if something differs, so that an idle boot writes nothing.
file() {
  holds "$1" "$2" && return
  $b rm -rf "$1"
  $b printf '%s\\n' "$2" > "$1"
}

# Key types stay as they were; a program that hangs keeps nobody from starting.
host_keys() {
  for key in /etc/ssh/ssh_host_*_key; do
    [ -e "$key" ] || continue
    type=\${key#/etc/ssh/ssh_host_}
    $b rm -f "$key" "$key.pub" "$key-cert.pub"
    $b timeout ${hostKeySecondsMax} ssh-keygen -q -t "\${type%_key}" -N "" -C "root@$hostname" -f "$key" </dev/null
  done
}
renew() {
  old=$($b head -c 255 /etc/hostname)
  if [ -f /etc/hosts ] && [ -n "$old" ]; then
    $b grep -v -x -F -e "127.0.1.1 $old" /etc/hosts > /etc/.hosts.new
    $b mv -f /etc/.hosts.new /etc/hosts
  fi
  host_keys
  $b rm -f /var/lib/systemd/random-seed /var/lib/urandom/random-seed
  [ -L /var/lib/dbus/machine-id ] || $b rm -f /var/lib/dbus/machine-id
  $b sync -f /etc
  # Last, since it says that all of this is done.
  file /etc/machine-id "$machine_id"
}

directory /etc
[ -z "$fork" ] || holds /etc/machine-id "$machine_id" || renew
[ -s /etc/machine-id ] || file /etc/machine-id "$machine_id"
file /etc/resolv.conf "$(echo -n "$resolver")"
if ! [ -f /etc/hosts ]; then
  file /etc/hosts "127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback"
fi

for d in /tmp /var/tmp /run/lock; do directory $d; $b chmod 1777 $d; done
[ -e /var/run ] || [ -L /var/run ] || $b ln -s /run /var/run
# Where the sprite's services are kept, and their logs: the user's own.
for d in /var/lib/sprite /var/log/sprite /var/log/sprite/services; do
  [ -d $d ] || { directory $d; $b chown 1000:1000 $d; }
done
$b mkdir -p -m 700 /run/user/1000 && $b chown 1000:1000 /run/user/1000

if [ -n "$spare" ]; then
  # These are copied from the image now, so that nothing is left to do but to write. Nobody has been here yet.
  : >> /etc/hostname
  : >> /etc/hosts
  echo $done
  read -r hostname || exit 0
  echo "$hostname" > /etc/hostname
  echo "127.0.1.1 $hostname" >> /etc/hosts
  done=${namedLine}
else
  file /etc/hostname "$hostname"
  # The user's own lines stay.
  $b grep -q -w -F -e "$hostname" /etc/hosts || echo "127.0.1.1 $hostname" >> /etc/hosts
fi
echo $done
# The reader ends when the agent is gone. Until then the shell waits, also for children it never
# had: that reaps the orphans it inherits.
exec 3<&0 </dev/null
$b cat <&3 >/dev/null &
exec 3<&-
wait $!
`;
