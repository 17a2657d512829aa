/** What keeps a sprite from being put to sleep, in a form that can be shown: "awake because of task build". */

import type { WakeHoldObject } from "../contract/sprite.ts";
import { formatTimestamp } from "../contract/timestamp.ts";

export interface WakeHold {
  kind: "task";
  name: string;
  /** When it ends by itself. */
  untilMs: number;
}

/** Whoever decides about sleep asks all holders, and listens so as to need no polling. */
export interface WakeHolder {
  wakeHolds(): readonly WakeHold[];
  /** Called after each change; returns the function that ends that. */
  onWakeHoldsChange(listener: () => void): () => void;
}

export function wakeHoldObject({ kind, name, untilMs }: WakeHold): WakeHoldObject {
  return { kind, name, until: formatTimestamp(untilMs) };
}
