import { shortHash } from "../base/short-hash.ts";

/**
 * The runtime's name for a sprite's container; the worker derives the same one to clear up after a
 * dead agent.
 */
export function containerId(spriteId: string): string {
  return `os-${shortHash(spriteId, 12)}`;
}
