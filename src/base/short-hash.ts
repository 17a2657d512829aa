import { createHash } from "node:crypto";

/** The first hex digits of the text's SHA-256: a name that is short, always the same, and nobody else's. */
export function shortHash(text: string, digits: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, digits);
}
