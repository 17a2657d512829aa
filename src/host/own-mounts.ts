import { openSync } from "node:fs";

/**
 * For a process that serves a file system which is mounted where the process itself is: sees to it
 * that its end ends both, whoever else is left there.
 *
 * The kernel closes a dead process's files after it has let go of the process's mount namespace. If
 * that was the last user, it unmounts first, which writes back to a server that is dead and yet not
 * closed: the process waits for itself for ever, and every `sync` of the machine with it. An open
 * file of the namespace is one user more, which goes among the other files: by then all of them are
 * closed before anything is unmounted.
 */
export function keepMountsUntilFilesClose(): void {
  // Never closed, by intent: it has to last as long as the process.
  openSync("/proc/self/ns/mnt", "r");
}
