/**
 * The image lock: a futex mutex for the two lanes of one volume, on a shared Int32Array.
 *
 * It is held for one pread or pwrite, so it must cost next to nothing when free. When the other
 * lane waits, unlocking hands the lock over to it instead of freeing it: a fast lane in a tight
 * loop would otherwise take it again before the slow lane has woken up.
 */
import { assert } from "../../base/assert.ts";

/**
 * How often a lane looks before it sleeps: most holders are done in the time that a sleep and a
 * wake-up would take.
 */
const looksBeforeSleep = 200;

export type Lane = "fast" | "slow";

const free = 0;
const held = 1;
/** Handed over: only that lane may take it. */
const grantedTo: Readonly<Record<Lane, number>> = { fast: 2, slow: 3 };

export class ImageLock {
  readonly #words: Int32Array;
  readonly #state: number;
  readonly #waiters: number;
  readonly #ownGrant: number;
  readonly #otherGrant: number;
  #isHeld = false;

  /** Uses two words of the array: the state and the number of waiters. */
  constructor(
    words: Int32Array,
    options: { stateIndex: number; waitersIndex: number; lane: Lane },
  ) {
    this.#words = words;
    this.#state = options.stateIndex;
    this.#waiters = options.waitersIndex;
    this.#ownGrant = grantedTo[options.lane];
    this.#otherGrant = grantedTo[options.lane === "fast" ? "slow" : "fast"];
  }

  lock(): void {
    assert(!this.#isHeld, "the image lock is not taken twice by one lane");
    if (Atomics.compareExchange(this.#words, this.#state, free, held) !== free) this.#wait();
    this.#isHeld = true;
  }

  unlock(): void {
    assert(this.#isHeld, "the image lock is unlocked by its holder");
    this.#isHeld = false;
    if (Atomics.load(this.#words, this.#waiters) > 0) {
      // The holder does not wait, so the waiter is the other lane.
      Atomics.store(this.#words, this.#state, this.#otherGrant);
      Atomics.notify(this.#words, this.#state, 1);
      return;
    }
    Atomics.store(this.#words, this.#state, free);
    // A waiter that registered after the look above may already sleep on the old state.
    if (Atomics.load(this.#words, this.#waiters) > 0) Atomics.notify(this.#words, this.#state, 1);
  }

  #wait(): void {
    for (let look = 0; look < looksBeforeSleep; look++) {
      if (Atomics.compareExchange(this.#words, this.#state, free, held) === free) return;
      Atomics.pause();
    }
    Atomics.add(this.#words, this.#waiters, 1);
    for (;;) {
      const state = Atomics.load(this.#words, this.#state);
      if (state === free || state === this.#ownGrant) {
        if (Atomics.compareExchange(this.#words, this.#state, state, held) === state) break;
        continue;
      }
      Atomics.wait(this.#words, this.#state, state);
    }
    Atomics.sub(this.#words, this.#waiters, 1);
  }
}
