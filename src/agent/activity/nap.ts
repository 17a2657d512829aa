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
  /** Called at each step, before what takes time and after it. */
  onStep: (step: NapStep, because: string) => void;
  log: Log;
  now?: () => number;
}

export type NapStep = "freezing" | "frozen" | "thawing" | "awake";

export interface NapEvent {
  atMs: number;
  because: string;
}

export class Nap {
  readonly #parts: NapParts;
  readonly #now: () => number;
  #state: NapStep = "awake";
  #sinceMs: number;
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
    this.#sinceMs = this.#now();
  }

  /** Also while they are being let go on, which may take. */
  get isAsleep(): boolean {
    return this.#state === "frozen" || this.#state === "thawing";
  }

  /** What is under way, and since when, ms since the epoch. */
  get transition(): { to: "warm" | "running"; sinceMs: number } | null {
    if (this.#state === "freezing") return { to: "warm", sinceMs: this.#sinceMs };
    return this.#state === "thawing" ? { to: "running", sinceMs: this.#sinceMs } : null;
  }

  /** Settles when it sleeps, or does not. Does nothing while something is under way. */
  async fallAsleep(because: string): Promise<void> {
    if (this.#isOver || this.#state !== "awake" || this.#change !== null) return;
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
    while (this.#state !== "awake" || this.#change !== null) {
      this.#woken ??= Promise.withResolvers();
      await (this.#change ?? this.#woken.promise);
    }
  }

  /** When it slept and woke is nothing for anybody to know. */
  forget(): void {
    this.slept = null;
    this.woke = null;
  }

  /** Wakes it for good: its container is about to end. */
  async end(because: string): Promise<void> {
    this.#isOver = true;
    await this.wake(because);
  }

  async #fallAsleep(because: string): Promise<void> {
    const { freeze, thaw, isIdle, log } = this.#parts;
    this.#step("freezing", because);
    try {
      await freeze();
    } catch (error) {
      this.#notBeforeMs = this.#now() + napRetryMs;
      this.#step("awake", "it could not be suspended");
      log.warn({ err: error }, "the sprite cannot be suspended now");
      return;
    }
    // What came meanwhile was not kept waiting by us, since it did not know.
    if (this.#isOver || !isIdle()) {
      try {
        await thaw();
        this.#step("awake", "something came while it was being suspended");
      } catch (error) {
        // Whoever came tries it again.
        log.error({ err: error }, "the sprite stays suspended");
        this.#step("frozen", because);
      }
      return;
    }
    this.slept = { atMs: this.#now(), because };
    this.#step("frozen", because);
  }

  async #wake(because: string): Promise<void> {
    this.#step("thawing", because);
    try {
      await this.#parts.thaw();
    } catch (error) {
      this.#step("frozen", "it could not be woken");
      throw error;
    }
    this.woke = { atMs: this.#now(), because };
    this.#woken?.resolve();
    this.#woken = null;
    this.#step("awake", because);
  }

  #step(step: NapStep, because: string): void {
    this.#state = step;
    this.#sinceMs = this.#now();
    this.#parts.onStep(step, because);
  }
}
