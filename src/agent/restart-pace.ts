import { restartDelayMsMax, restartDelayMsMin, shortLifeMsMax } from "./limits.ts";

/** How long to wait before a container that ended by itself is started again: one that keeps ending must not burn a core. */
export class RestartPace {
  #shortLives = 0;

  /** The first end is followed at once, short lives in a row ever later. */
  delayAfter(livedMs: number): number {
    this.#shortLives = livedMs < shortLifeMsMax ? this.#shortLives + 1 : 0;
    if (this.#shortLives < 2) return 0;
    return Math.min(restartDelayMsMax, restartDelayMsMin * 2 ** (this.#shortLives - 2));
  }
}
