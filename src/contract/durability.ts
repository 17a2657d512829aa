/** What an fsync inside a sprite waits for (storage.md section 8.4). */

import { SpriteError } from "./errors.ts";

/**
 * `local`: the machine's disk; losing the machine may lose the last second or two, never the order.
 * `durable`: the bucket.
 */
export const durabilities = ["local", "durable"] as const;
export type Durability = (typeof durabilities)[number];

export function isDurability(value: unknown): value is Durability {
  return durabilities.some((known) => known === value);
}

/** The body that a worker sends its agent. @throws SpriteError invalid_request */
export function parseDurabilityBody(body: unknown): Durability {
  const value =
    typeof body === "object" && body !== null && "durability" in body ? body.durability : undefined;
  if (isDurability(value)) return value;
  throw new SpriteError("invalid_request", "durability: expected local or durable");
}
