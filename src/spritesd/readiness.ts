/** Whether the server can do its work at the moment: what /readyz tells, each reason a word of a fixed set. */
import { existsSync } from "node:fs";

export interface ReadinessParts {
  /** As `ServerLease.tenure`. */
  tenure: () => number | null;
  /** The image that new sprites get. */
  isImageMounted: () => boolean;
  /** Null: sprites have no way out. */
  gatewayNamespacePath: string | null;
  isRegistryReplicated: () => boolean;
}

export function readiness(parts: ReadinessParts): () => string[] {
  return () => problemsOf(parts);
}

function problemsOf(parts: ReadinessParts): string[] {
  const problems: string[] = [];
  // The lease is renewed every 10 s: so long ago was the bucket last reached.
  if (parts.tenure() === null) problems.push("bucket_unreachable");
  if (!parts.isImageMounted()) problems.push("image_not_mounted");
  const { gatewayNamespacePath } = parts;
  if (gatewayNamespacePath !== null && !existsSync(gatewayNamespacePath)) {
    problems.push("network_down");
  }
  if (!parts.isRegistryReplicated()) problems.push("registry_not_replicated");
  return problems;
}
