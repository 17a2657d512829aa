/** The host name that another process sees, which it may have no right to set itself. */
import type { ProcessIdentity } from "../base/process-identity.ts";
import { insideNamespace } from "./inside-namespace.ts";
import { callFailed, lateLibrary } from "./late-library.ts";

/**
 * Holds at once for all processes of its UTS namespace, which must not be ours.
 * @throws HostError aborted: the process has ended; system_call
 */
export function setNamespaceHostname(owner: ProcessIdentity, name: string): void {
  const { setHostname, errno } = lateLibrary();
  insideNamespace(owner, "hostname", () => {
    if (setHostname(name, Buffer.byteLength(name)) !== 0) throw callFailed("sethostname", errno());
  });
}
