import { restartMsMax, restartMsMin, steadyLifeMs } from "./limits.ts";

/**
 * How long to wait before a crashed service is started again. Without chance: there is nobody else
 * whose restarts could meet this one's.
 */
export class RestartPolicy {
  #delayMs = restartMsMin;

  /** The pause after a process that lived this long. */
  delayAfter(livedMs: number): number {
    if (livedMs >= steadyLifeMs) this.#delayMs = restartMsMin;
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(2 * delayMs, restartMsMax);
    return delayMs;
  }

  /** Somebody has started it on purpose. */
  reset(): void {
    this.#delayMs = restartMsMin;
  }
}
