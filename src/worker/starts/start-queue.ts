/**
 * Starts of agents take turns: each one is half a second of processor time, so that fifty sprites that are asked for at once would all
 * be late, and their memory would come at once. First come, first served; what nobody waits for yet, such as filling a pool, comes after
 * everything that somebody does.
 */
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import { startRetrySeconds } from "../limits.ts";

export interface StartQueueOptions {
  /** Starts under way at once. */
  countMax: number;
  /** Past it whoever waits is told to come again, ms. */
  waitMsMax: number;
  /** Beyond so many nobody else is let wait. */
  waitersMax: number;
  /** Whether the machine has the memory for one more; asked again every so often while it has not. */
  hasRoom?: () => Promise<boolean>;
  roomLookMs: number;
}

interface Waiter {
  onTurn: (leave: () => void) => void;
}

export class StartQueue {
  readonly #options: StartQueueOptions;
  readonly #urgent = new Set<Waiter>();
  readonly #later = new Set<Waiter>();
  #underWay = 0;
  #isLooking = false;

  constructor(options: StartQueueOptions) {
    this.#options = options;
  }

  /** Starts under way, and those that wait for their turn. */
  get counts(): { underWay: number; waiting: number } {
    return { underWay: this.#underWay, waiting: this.#urgent.size + this.#later.size };
  }

  /**
   * Waits for a turn; what it gives ends the turn, and may be called again.
   * @param options.isUrgent false when nobody waits for it
   * @param options.signal ends the wait with its reason
   * @throws SpriteError unavailable: no turn in time
   */
  async enter(options: { isUrgent: boolean; signal?: AbortSignal }): Promise<() => void> {
    const { waitMsMax, waitersMax } = this.#options;
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.counts.waiting >= waitersMax) throw fullError();
    const line = options.isUrgent ? this.#urgent : this.#later;
    const { promise, resolve, reject } = Promise.withResolvers<() => void>();
    const waiter: Waiter = { onTurn: resolve };
    // In one step: a turn that were given to somebody who has left would never end.
    const giveUp = (reason: unknown): void => {
      if (line.delete(waiter)) reject(reason);
    };
    line.add(waiter);
    const timer = setTimeout(() => giveUp(fullError()), waitMsMax);
    const onAbort = (): void => giveUp(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    void this.#advance();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Gives turns to those in front, one look at the machine for each. */
  async #advance(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      while (this.#underWay < this.#options.countMax && this.counts.waiting > 0) {
        if (await this.#hasRoom()) this.#giveTurn();
        else await delay(this.#options.roomLookMs);
      }
    } finally {
      this.#isLooking = false;
    }
  }

  async #hasRoom(): Promise<boolean> {
    // Who cannot look lets all in, as without it.
    return (await this.#options.hasRoom?.().catch(() => true)) ?? true;
  }

  #giveTurn(): void {
    const line = this.#urgent.size > 0 ? this.#urgent : this.#later;
    const [waiter] = line;
    // Whoever waited may have given up during the look.
    if (waiter === undefined) return;
    line.delete(waiter);
    this.#underWay += 1;
    let isOver = false;
    waiter.onTurn(() => {
      if (isOver) return;
      isOver = true;
      this.#underWay -= 1;
      void this.#advance();
    });
  }
}

function fullError(): SpriteError {
  const message = "too many sprites are starting on this machine; try again";
  return new SpriteError("unavailable", message, {
    details: { retry_after_seconds: startRetrySeconds },
  });
}
