/** Sockets that live in another process's network namespace, where a socket stays all its life. */
import { closeSync, openSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";

import type Koffi from "koffi";

import { isAlive, type ProcessIdentity } from "../base/process-identity.ts";
import { HostError } from "./command.ts";

const load = createRequire(import.meta.url);

const networkNamespace = 0x4000_0000;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;

/** The same on x86-64 and arm64. */
export const socketFamily = { netlink: 16, ipv4: 2, ipv6: 10 } as const;
export const socketType = { stream: 1, raw: 3 } as const;

type SystemCall = (...args: readonly number[]) => unknown;
interface Library {
  enter: SystemCall;
  socket: SystemCall;
  errno: () => number;
}
let library: Library | null = null;

/** Loaded at the first use: most sprites never need it, and it costs some megabytes. */
function calls(): Library {
  if (library !== null) return library;
  const koffi = load("koffi") as typeof Koffi;
  const libc = koffi.load("libc.so.6");
  library = {
    enter: libc.func("int setns(int, int)") as SystemCall,
    socket: libc.func("int socket(int, int, int)") as SystemCall,
    errno: () => koffi.errno(),
  };
  return library;
}

/**
 * A socket of that process's network, which does not block; the caller closes it. Only this thread
 * enters the namespace, for these calls and without an await, so nothing else of ours gets in.
 * @throws HostError aborted: the process has ended; system_call
 */
export function openNamespaceSocket(
  owner: ProcessIdentity,
  kind: { family: number; type: number; protocol?: number },
): number {
  const { enter, socket, errno } = calls();
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    const there = openNamespace(owner);
    try {
      if (Number(enter(there, networkNamespace)) !== 0) throw failed("setns", errno());
      const flags = kind.type | closeOnExec | nonBlocking;
      const descriptor = Number(socket(kind.family, flags, kind.protocol ?? 0));
      const error = errno();
      // Whatever this process did next would happen in the guest's network.
      if (Number(enter(home, networkNamespace)) !== 0) process.abort();
      if (descriptor < 0) throw failed("socket", error);
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

function failed(call: string, errno: number): HostError {
  const name = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0];
  const message = `${call} in another network namespace: ${name ?? `errno ${errno}`}`;
  return new HostError("system_call", message, { command: call, errno: name ?? null });
}
