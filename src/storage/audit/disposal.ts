/** Which whole volumes nobody needs any more. */
import { abandonedAgeMsMin } from "./limits.ts";
import type { VolumeReport } from "./volume-audit.ts";

/** What the registries of a bucket name, by prefix. */
export interface Registered {
  sprites: ReadonlySet<string>;
  images: ReadonlySet<string>;
}

/**
 * - `unregistered`: a sprite's disk that no registry names.
 * - `unused`: an image that no registered sprite has. A server may be about to make one of it.
 * - `young`: would be one of these, but came too recently to be sure.
 * - null: it is needed, or was destroyed already, or nobody can tell.
 */
export type Disposal = "unregistered" | "unused" | "young" | null;

export function disposalOf(
  report: VolumeReport,
  /** Null: the bucket has no registry, so nothing can be told. */
  registered: Registered | null,
  nowMs: number,
): Disposal {
  const { prefix, condition, youngestAtMs } = report;
  if (registered === null || condition === "destroyed" || condition === "unreadable") return null;
  const isImage = prefix.startsWith("images/");
  const known = isImage ? registered.images : registered.sprites;
  if (known.has(prefix)) return null;
  if (youngestAtMs > nowMs - abandonedAgeMsMin) return "young";
  return isImage ? "unused" : "unregistered";
}
