/** Where certificates and their keys are kept, below the server's data. */
import { createHash } from "node:crypto";
import { join } from "node:path";

export function certificatesDirectory(dataDirectory: string): string {
  return join(dataDirectory, "certificates");
}

/** One a service: what a test service issued is never served in the name of another. */
export function acmeDirectory(dataDirectory: string, directoryUrl: string): string {
  const id = createHash("sha256").update(directoryUrl).digest("hex").slice(0, 12);
  return join(certificatesDirectory(dataDirectory), `acme-${id}`);
}
