import { setTimeout as delay } from "node:timers/promises";
import {
  attemptsMax,
  retryDelayMsMax,
  retryDelayMsMin,
  retryTokensMax,
  retryTokensPerSuccess,
  throttledDelayMsMin,
} from "../limits.ts";

/** Why one attempt failed, and what may be done about it. */
export class AttemptError extends Error {
  override readonly name = "AttemptError";
  readonly isRetryable: boolean;
  /** The store asks for fewer requests. */
  readonly isThrottled: boolean;
  /** A write may have taken effect, or may still do so. */
  readonly isOutcomeUnknown: boolean;
  /** What the store asked for; null when it said nothing. */
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    options: {
      isRetryable?: boolean;
      isThrottled?: boolean;
      isOutcomeUnknown?: boolean;
      retryAfterMs?: number | null;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.isRetryable = options.isRetryable ?? false;
    this.isThrottled = options.isThrottled ?? false;
    this.isOutcomeUnknown = options.isOutcomeUnknown ?? false;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

export type Sleep = (delayMs: number, signal: AbortSignal | undefined) => Promise<void>;

const sleepByTimer: Sleep = async (delayMs, signal) => {
  await delay(delayMs, undefined, signal ? { signal } : {});
};

/**
 * Repeats what may succeed the next time, after a pause of random length below a limit that doubles ("full jitter": clients that
 * failed together don't come back together), while the store's calls together have retries in hand.
 */
export class Retries {
  readonly #random: () => number;
  readonly #sleep: Sleep;
  #tokens = retryTokensMax;

  constructor(options: { random?: () => number; sleep?: Sleep } = {}) {
    this.#random = options.random ?? Math.random;
    this.#sleep = options.sleep ?? sleepByTimer;
  }

  /** @throws what the last attempt threw */
  async run<T>(signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
    for (let count = 1; ; count++) {
      signal?.throwIfAborted();
      try {
        const result = await attempt();
        this.#tokens = Math.min(retryTokensMax, this.#tokens + retryTokensPerSuccess);
        return result;
      } catch (error) {
        if (!(error instanceof AttemptError) || !error.isRetryable) throw error;
        if (count >= attemptsMax || this.#tokens < 1) throw error;
        this.#tokens--;
        await this.#sleep(this.#pauseMs(error, count), signal);
      }
    }
  }

  #pauseMs({ isThrottled, retryAfterMs }: AttemptError, count: number): number {
    const base = isThrottled ? throttledDelayMsMin : retryDelayMsMin;
    const limit = Math.min(retryDelayMsMax, base * 2 ** (count - 1));
    return this.#random() * limit + Math.min(retryAfterMs ?? 0, retryDelayMsMax);
  }
}
