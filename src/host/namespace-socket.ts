/** Sockets that live in another process's network namespace, where a socket stays all its life. */
import { closeSync, openSync } from "node:fs";

import { isAlive, type ProcessIdentity } from "../base/process-identity.ts";
import { HostError } from "./command.ts";
import { callFailed, lateLibrary } from "./late-library.ts";

const networkNamespace = 0x4000_0000;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;

/** The same on x86-64 and arm64. */
export const socketFamily = { netlink: 16, ipv4: 2, ipv6: 10 } as const;
export const socketType = { stream: 1, raw: 3 } as const;

/**
 * A socket of that process's network, which does not block; the caller closes it. Only this thread
 * enters the namespace, for these calls and without an await, so nothing else of ours gets in.
 * @throws HostError aborted: the process has ended; system_call
 */
export function openNamespaceSocket(
  owner: ProcessIdentity,
  kind: { family: number; type: number; protocol?: number },
): number {
  const { setNamespace, socket, errno } = lateLibrary();
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    const there = openNamespace(owner);
    try {
      if (setNamespace(there, networkNamespace) !== 0) throw callFailed("setns", errno());
      const flags = kind.type | closeOnExec | nonBlocking;
      const descriptor = socket(kind.family, flags, kind.protocol ?? 0);
      const error = errno();
      // Whatever this process did next would happen in the guest's network.
      if (setNamespace(home, networkNamespace) !== 0) process.abort();
      if (descriptor < 0) throw callFailed("socket", error);
      return descriptor;
    } finally {
      closeSync(there);
    }
  } finally {
    closeSync(home);
  }
}

/** An open handle of a namespace stays what it is, so the owner is looked at after it was opened. */
function openNamespace(owner: ProcessIdentity): number {
  const gone = new HostError("aborted", "the process of a network namespace has ended", {
    command: "setns",
  });
  let handle: number;
  try {
    handle = openSync(`/proc/${owner.pid}/ns/net`, "r");
  } catch {
    throw gone;
  }
  if (isAlive(owner)) return handle;
  closeSync(handle);
  throw gone;
}
