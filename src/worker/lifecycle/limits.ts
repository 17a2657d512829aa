/** How long a sprite may take from one state of its life to the next. */
import type { LifeState } from "./life-state.ts";

/** A request waits so long for its sprite, and whoever has waited is told to come again. */
export const heldMsMax = 60_000;
export const heldRetrySeconds = 5;
/** An agent that is not there by its own deadlines (worker/limits.ts) hangs in something that has none. */
const startStuckMsMax = 90_000;
const stopStuckMsMax = 30_000;
/** A freeze gives up by itself after some seconds, a thaw is one write. */
const restStuckMsMax = 20_000;

export function stuckMsMax({ phase }: LifeState): number {
  if (phase === "starting") return startStuckMsMax;
  return phase === "stopping" || phase === "destroying" ? stopStuckMsMax : restStuckMsMax;
}
/** How long a destroyed sprite is remembered: longer than any request waits that may have read of it in the registry. */
export const destroyedKnownMs = 900_000;
