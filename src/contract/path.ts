import { SpriteError } from "./errors.ts";

/**
 * The segments of a raw path: split at `/` first and decoded afterwards (contract.md section 0), so
 * that a name may hold any character, an encoded slash makes no segment, and nothing is resolved or
 * normalised.
 * @throws SpriteError invalid_request
 */
export function splitPath(rawPath: string): string[] {
  return rawPath.split("/").map((segment) => {
    try {
      return decodeURIComponent(segment);
    } catch (cause) {
      const message = "the path is not valid percent-encoded text";
      throw new SpriteError("invalid_request", message, { cause });
    }
  });
}
