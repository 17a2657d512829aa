/** So much at once, and so much a second after that. Pure. */
export class RateBudget {
  readonly #max: number;
  readonly #perSecond: number;
  #left: number;
  #filledAtMs: number;

  constructor(options: { max: number; perSecond: number; nowMs: number }) {
    this.#max = options.max;
    this.#perSecond = options.perSecond;
    this.#left = options.max;
    this.#filledAtMs = options.nowMs;
  }

  /** False, and nothing is spent, when there is not enough. */
  spend(amount: number, nowMs: number): boolean {
    const filled = this.#left + ((nowMs - this.#filledAtMs) / 1000) * this.#perSecond;
    this.#left = Math.min(this.#max, filled);
    this.#filledAtMs = nowMs;
    if (this.#left < amount) return false;
    this.#left -= amount;
    return true;
  }
}
