import { setImmediate as nextTurn } from "node:timers/promises";

import { sliceMs } from "../limits.ts";

/**
 * Divides long work that the thread does itself into slices, between which the other operations get
 * their turn and a given-up one ends.
 */
export class Pace {
  readonly #signal: AbortSignal;
  #sliceEndMs = performance.now() + sliceMs;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Asked first, since waiting for nothing costs more than the work on one entry. */
  get isOver(): boolean {
    return performance.now() > this.#sliceEndMs;
  }

  /** @throws the signal's reason */
  async rest(): Promise<void> {
    await nextTurn();
    this.#signal.throwIfAborted();
    this.#sliceEndMs = performance.now() + sliceMs;
  }
}
