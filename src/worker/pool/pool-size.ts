/** How many spares there should be: as configured, more for a while after a burst, fewer when memory is short. */
import {
  burstMemoryMs,
  burstMs,
  createsRememberedMax,
  freeShareMin,
  freeShareToGrow,
  growthFactorMax,
  sparesMax,
} from "./limits.ts";

/** So many creates within `burstMs` of each other. */
interface Burst {
  count: number;
  atMs: number;
}

export class PoolSize {
  readonly #configured: number;
  readonly #now: () => number;
  /** Times of the last creates, the oldest first. */
  readonly #creates: number[] = [];
  /** The largest that is not forgotten yet. */
  #burst: Burst = { count: 0, atMs: 0 };

  /** @param configured 0: there is no pool, whatever is asked for */
  constructor(configured: number, now: () => number = () => performance.now()) {
    this.#configured = Math.min(configured, sparesMax);
    this.#now = now;
  }

  noteCreate(): void {
    const nowMs = this.#now();
    this.#creates.push(nowMs);
    if (this.#creates.length > createsRememberedMax) this.#creates.shift();
    const count = this.#creates.filter((atMs) => nowMs - atMs <= burstMs).length;
    if (count >= this.#demand()) this.#burst = { count, atMs: nowMs };
  }

  /**
   * @param freeShare of the machine's memory
   * @param current how many there are, also of those that are being made
   */
  target({ freeShare, current }: { freeShare: number; current: number }): number {
    if (this.#configured === 0) return 0;
    // One at a time, so that what that gives is seen before the next one goes.
    if (freeShare < freeShareMin) return Math.max(0, current - 1);
    const most = Math.min(this.#configured * growthFactorMax, sparesMax);
    const wanted = Math.min(most, Math.max(this.#configured, this.#demand()));
    return freeShare < freeShareToGrow ? Math.min(wanted, current) : wanted;
  }

  /** The size of the burst, less the longer ago it was. */
  #demand(): number {
    const { count, atMs } = this.#burst;
    const left = 1 - (this.#now() - atMs) / burstMemoryMs;
    return Math.max(0, Math.ceil(count * left));
  }
}
