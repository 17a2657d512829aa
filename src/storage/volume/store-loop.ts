/**
 * The rhythm of a volume: a cut every interval while something changed, then the bucket, with
 * patience when that fails. One at a time; whoever asks for a sync waits for the first cut that
 * began after the question.
 */
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import { isFenced } from "../lease/fenced-error.ts";
import { garbageIntervalMs, retryMsMax } from "./limits.ts";

export interface StoreLoopOptions {
  intervalMs: number;
  /** True when a cut would have something to record. */
  hasChanges: () => boolean;
  lastCut: () => number;
  syncedCut: () => number;
  /** The cut that is running, begun but not committed; null between cuts. */
  runningCut: () => number | null;
  /** Settles when no cut is running. */
  cutIdle: () => Promise<void>;
  makeCut: () => Promise<void>;
  publish: (signal: AbortSignal) => Promise<void>;
  /** Keeps the local cache under its limit; quick when it is. */
  evict: () => void;
  /** Deletes garbage: what is due now and then. */
  tidy: (signal: AbortSignal) => Promise<void>;
  onProblem: (problem: Error | null) => void;
  nowMs: () => number;
  random: () => number;
  /** The first pause after a failure. */
  retryMsMin: number;
  /** A problem was told when the volume was opened: it is over with the first store that works. */
  isTroubled: boolean;
}

interface Waiter {
  cut: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class StoreLoop {
  readonly #options: StoreLoopOptions;
  readonly #abort = new AbortController();
  #waiters: Waiter[] = [];
  #wake: (() => void) | null = null;
  #isWanted = false;
  #failures = 0;
  #isTroubled: boolean;
  #fenced: Error | null = null;
  #tidiedAtMs = 0;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: StoreLoopOptions) {
    this.#options = options;
    this.#isTroubled = options.isTroubled;
  }

  start(): void {
    this.#ended = this.#run();
  }

  /**
   * Settles when everything from before the call is in the bucket. Goes on through failures, unless
   * fenced.
   */
  async sync(): Promise<void> {
    const { hasChanges, lastCut, runningCut, syncedCut } = this.#options;
    const running = runningCut();
    const committed = running ?? lastCut();
    const cut = hasChanges() ? committed + 1 : committed;
    if (cut <= syncedCut()) return;
    await this.waitFor(cut);
  }

  /** Settles when the cut is in the bucket. */
  waitFor(cut: number): Promise<void> {
    if (this.#fenced !== null) return Promise.reject(this.#fenced);
    if (this.#abort.signal.aborted) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      this.#waiters.push({ cut, resolve, reject });
      this.kick();
    });
  }

  /** Does not wait for the interval, nor for the pause after a failure. */
  kick(): void {
    this.#isWanted = true;
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#wake?.();
    await this.#ended;
    this.#rejectAll(closed());
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted && this.#fenced === null) {
      if (!this.#isWanted) await this.#pause();
      if (signal.aborted) return;
      this.#isWanted = false;
      try {
        await this.#store(signal);
        if (this.#isTroubled) this.#options.onProblem(null);
        this.#isTroubled = false;
        this.#failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#fail(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  async #store(signal: AbortSignal): Promise<void> {
    const { hasChanges, cutIdle, makeCut, lastCut, syncedCut, publish } = this.#options;
    await cutIdle();
    // Somebody may wait for a cut that was taken back and has nothing to record any more: an empty
    // one will do.
    if (hasChanges() || this.#waiters.some(({ cut }) => cut > lastCut())) await makeCut();
    if (lastCut() > syncedCut()) await publish(signal);
    this.#settle();
    // Those who asked while a cut was running want another one.
    if (this.#waiters.length > 0) this.#isWanted = true;
    this.#options.evict();
    const now = this.#options.nowMs();
    if (now - this.#tidiedAtMs >= garbageIntervalMs || now < this.#tidiedAtMs) {
      this.#tidiedAtMs = now;
      await this.#options.tidy(signal);
    }
  }

  #settle(): void {
    const synced = this.#options.syncedCut();
    const done = this.#waiters.filter(({ cut }) => cut <= synced);
    this.#waiters = this.#waiters.filter(({ cut }) => cut > synced);
    for (const { resolve } of done) resolve();
  }

  #fail(error: Error): void {
    this.#failures++;
    if (isFenced(error)) {
      this.#fenced = error;
      this.#rejectAll(error);
    }
    // Told once for a row of failures.
    if (this.#failures === 1) this.#options.onProblem(error);
    this.#isTroubled = true;
  }

  #rejectAll(error: Error): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiters) reject(error);
  }

  async #pause(): Promise<void> {
    const { intervalMs, random, retryMsMin } = this.#options;
    let pauseMs = intervalMs;
    if (this.#failures > 0) {
      const backoffMs = Math.min(retryMsMax, retryMsMin * 2 ** (this.#failures - 1));
      pauseMs = Math.max(intervalMs, backoffMs) * (0.5 + random());
    }
    const timer = new AbortController();
    const woken = new Promise<void>((resolve) => (this.#wake = resolve));
    await Promise.race([
      delay(pauseMs, undefined, { signal: timer.signal }).catch(() => undefined),
      woken,
    ]);
    this.#wake = null;
    timer.abort();
  }
}

function closed(): SpriteError {
  return new SpriteError("unavailable", "the volume is being closed");
}
