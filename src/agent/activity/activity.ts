/**
 * Whether anything goes on in the sprite, and what. Everything that counts is looked at now and then by one timer; what is over between two
 * looks, such as a request, leaves the time of its end.
 */
import type { ActivityItem } from "../../contract/activity.ts";
import { lookMsMax, lookMsMin, looksInWindow } from "./limits.ts";

export interface ActivitySource {
  /** What holds the sprite awake now. Called at each look. */
  look(nowMs: number): readonly ActivityItem[];
  /** When something happened last that is over, ms since the epoch. */
  lastMs?(): number;
}

export interface HeldItem extends ActivityItem {
  /** At which look it was seen first, without a break since; ms since the epoch. */
  sinceMs: number;
}

export interface ActivityOptions {
  sources: readonly ActivitySource[];
  /** Nothing for so long makes it idle; null: it never is. */
  windowMs: number | null;
  /** Called at each look that finds it idle. */
  onIdle: () => void;
  now?: () => number;
}

export class Activity {
  readonly #options: ActivityOptions;
  readonly #now: () => number;
  #held: HeldItem[] = [];
  #lastActiveMs: number;
  #windowMs: number | null;
  #isStarted = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: ActivityOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#lastActiveMs = this.#now();
    this.#windowMs = options.windowMs;
  }

  start(): void {
    const windowMs = this.#windowMs;
    this.#isStarted = true;
    if (windowMs === null || this.#timer !== null) return;
    const intervalMs = Math.min(lookMsMax, Math.max(lookMsMin, windowMs / looksInWindow));
    this.#timer = setInterval(() => this.#tick(), intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    this.#isStarted = false;
    this.#endTimer();
  }

  #endTimer(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  get windowMs(): number | null {
    return this.#windowMs;
  }

  /** It counts from now on, for what has been idle already too. */
  setWindow(windowMs: number | null): void {
    this.#windowMs = windowMs;
    this.#endTimer();
    if (this.#isStarted) this.start();
  }

  /** Something happened that leaves no trace: it counts as of now. */
  touch(): void {
    this.#lastActiveMs = this.#now();
  }

  /** Looks now. */
  held(): readonly HeldItem[] {
    const nowMs = this.#now();
    const before = new Map(this.#held.map((item) => [`${item.kind} ${item.name}`, item.sinceMs]));
    this.#held = this.#options.sources.flatMap((source) =>
      source.look(nowMs).map((item) => ({
        ...item,
        sinceMs: before.get(`${item.kind} ${item.name}`) ?? nowMs,
      })),
    );
    const last = this.#options.sources.map((source) => source.lastMs?.() ?? 0);
    this.#lastActiveMs = Math.max(this.#held.length > 0 ? nowMs : 0, this.#lastActiveMs, ...last);
    return this.#held;
  }

  /** Since when nothing has gone on, ms since the epoch; null while something does. */
  idleSinceMs(): number | null {
    return this.held().length > 0 ? null : this.#lastActiveMs;
  }

  /** Whether nothing has gone on for the whole window. */
  isIdle(): boolean {
    const windowMs = this.#windowMs;
    const sinceMs = this.idleSinceMs();
    if (windowMs === null || sinceMs === null) return false;
    // A clock that was set back would keep it awake for as long as it was set back.
    const nowMs = this.#now();
    if (sinceMs > nowMs) this.#lastActiveMs = nowMs;
    return nowMs - sinceMs >= windowMs;
  }

  #tick(): void {
    if (this.isIdle()) this.#options.onIdle();
  }
}
