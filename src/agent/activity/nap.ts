/**
 * Suspends the sprite's processes when nothing goes on, and lets them go on when something is asked of them (the status *warm*). One owner
 * of that state: freezes and thaws never overlap, and whoever asks during a freeze waits for the thaw that follows it.
 */
import type { Log } from "../../base/log.ts";
import { napRetryMs } from "./limits.ts";

export interface NapParts {
  /** Suspends every process inside. Rejects when some cannot be; then all go on. */
  freeze: () => Promise<void>;
  thaw: () => Promise<void>;
  /** Asked once more in the last moment. */
  isIdle: () => boolean;
  onChange: (state: NapState, because: string) => void;
  log: Log;
  now?: () => number;
}

export type NapState = "awake" | "asleep";

export interface NapEvent {
  atMs: number;
  because: string;
}

export class Nap {
  readonly #parts: NapParts;
  readonly #now: () => number;
  #state: NapState = "awake";
  /** Set while processes are being suspended or let go on. */
  #change: Promise<void> | null = null;
  /** Set while somebody waits for it to wake by another's doing. */
  #woken: PromiseWithResolvers<void> | null = null;
  #notBeforeMs = 0;
  #isOver = false;
  slept: NapEvent | null = null;
  woke: NapEvent | null = null;

  constructor(parts: NapParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  get state(): NapState {
    return this.#state;
  }

  /** Settles when it sleeps, or does not. Does nothing while something is under way. */
  async fallAsleep(because: string): Promise<void> {
    if (this.#isOver || this.#state === "asleep" || this.#change !== null) return;
    if (this.#now() < this.#notBeforeMs) return;
    this.#change = this.#fallAsleep(because).finally(() => (this.#change = null));
    await this.#change;
  }

  /** Settles when its processes run; at once when they do. Those that come together share one thaw. */
  async wake(because: string): Promise<void> {
    while (this.#change !== null) await this.#change;
    if (this.#state === "awake") return;
    this.#change = this.#wake(because).finally(() => (this.#change = null));
    await this.#change;
  }

  /** Settles when its processes run, whoever wakes them. */
  async whenAwake(): Promise<void> {
    while (this.#state === "asleep" || this.#change !== null) {
      this.#woken ??= Promise.withResolvers();
      await (this.#change ?? this.#woken.promise);
    }
  }

  /** Wakes it for good: its container is about to end. */
  async end(because: string): Promise<void> {
    this.#isOver = true;
    await this.wake(because);
  }

  async #fallAsleep(because: string): Promise<void> {
    const { freeze, thaw, isIdle, onChange, log } = this.#parts;
    try {
      await freeze();
    } catch (error) {
      this.#notBeforeMs = this.#now() + napRetryMs;
      log.warn({ err: error }, "the sprite cannot be suspended now");
      return;
    }
    // What came meanwhile was not kept waiting by us, since it did not know.
    if (this.#isOver || !isIdle()) {
      await thaw();
      return;
    }
    this.#state = "asleep";
    this.slept = { atMs: this.#now(), because };
    onChange("asleep", because);
  }

  async #wake(because: string): Promise<void> {
    const { thaw, onChange } = this.#parts;
    await thaw();
    this.#state = "awake";
    this.woke = { atMs: this.#now(), because };
    this.#woken?.resolve();
    this.#woken = null;
    onChange("awake", because);
  }
}
