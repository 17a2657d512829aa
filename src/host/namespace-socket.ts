/** Sockets that live in another process's network namespace, where a socket stays all its life. */
import type { ProcessIdentity } from "../base/process-identity.ts";
import { insideNamespace } from "./inside-namespace.ts";
import { callFailed, lateLibrary } from "./late-library.ts";

const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;

/** The same on x86-64 and arm64. */
export const socketFamily = { netlink: 16, ipv4: 2, ipv6: 10 } as const;
export const socketType = { stream: 1, raw: 3 } as const;

/**
 * A socket of that process's network, which does not block; the caller closes it.
 * @throws HostError aborted: the process has ended; system_call
 */
export function openNamespaceSocket(
  owner: ProcessIdentity,
  kind: { family: number; type: number; protocol?: number },
): number {
  const { socket, errno } = lateLibrary();
  return insideNamespace(owner, "network", () => {
    const flags = kind.type | closeOnExec | nonBlocking;
    const descriptor = socket(kind.family, flags, kind.protocol ?? 0);
    if (descriptor < 0) throw callFailed("socket", errno());
    return descriptor;
  });
}
