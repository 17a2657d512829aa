/** Work of this process in a namespace of another's, such as one of a container. */
import { closeSync, openSync } from "node:fs";

import { isAlive, type ProcessIdentity } from "../base/process-identity.ts";
import { HostError } from "./command.ts";
import { callFailed, lateLibrary } from "./late-library.ts";

const namespaces = {
  network: { file: "net", flag: 0x4000_0000 },
  hostname: { file: "uts", flag: 0x0400_0000 },
} as const;

/**
 * Only this thread enters the namespace, and `act` has no await, so nothing else of ours gets in.
 * @throws HostError aborted: the process has ended; system_call; and what `act` throws
 */
export function insideNamespace<T>(
  owner: ProcessIdentity,
  kind: keyof typeof namespaces,
  act: () => T,
): T {
  const { setNamespace, errno } = lateLibrary();
  const { file, flag } = namespaces[kind];
  const home = openSync(`/proc/thread-self/ns/${file}`, "r");
  try {
    const there = openNamespace(owner, file);
    try {
      if (setNamespace(there, flag) !== 0) throw callFailed("setns", errno());
      try {
        return act();
      } finally {
        // Whatever this process did next would happen in the guest's.
        if (setNamespace(home, flag) !== 0) process.abort();
      }
    } finally {
      closeSync(there);
    }
  } finally {
    closeSync(home);
  }
}

/** An open handle of a namespace stays what it is, so the owner is looked at after it was opened. */
function openNamespace(owner: ProcessIdentity, file: string): number {
  const gone = new HostError("aborted", `the process of a namespace (${file}) has ended`, {
    command: "setns",
  });
  let handle: number;
  try {
    handle = openSync(`/proc/${owner.pid}/ns/${file}`, "r");
  } catch {
    throw gone;
  }
  if (isAlive(owner)) return handle;
  closeSync(handle);
  throw gone;
}
