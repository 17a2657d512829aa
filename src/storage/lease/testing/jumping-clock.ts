import { setImmediate as nextTurn } from "node:timers/promises";
import type { LeaseClock } from "../clock.ts";

/** A clock on which every wait is over at once; `onWait` can change the world meanwhile. */
export class JumpingClock implements LeaseClock {
  #elapsedMs = 0;
  onWait: (elapsedMs: number) => Promise<void> = async () => undefined;

  nowMs(): number {
    return 1_700_000_000_000 + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  async wait(ms: number, signal?: AbortSignal): Promise<void> {
    await nextTurn();
    signal?.throwIfAborted();
    this.#elapsedMs += ms;
    await this.onWait(this.#elapsedMs);
  }
}
