import {
  hedgeDelayMsMax,
  hedgeDelayMsMin,
  hedgeQuantile,
  hedgesInRowMax,
  hedgeSamplesMax,
  hedgeSamplesMin,
  hedgesPerRead,
} from "../limits.ts";
import type { Reply } from "./http-exchange.ts";

/** Sends a request; aborted when another reply was faster. */
type Send = (signal: AbortSignal) => Promise<Reply>;

/**
 * Sends a read a second time when the first has given no sign for longer than 19 of 20 do, and takes what answers first. A store that is
 * slow as a whole gets few of these: each read earns a twentieth of one.
 */
export class Hedge {
  readonly #now: () => number;
  readonly #samplesMs: number[] = [];
  #next = 0;
  #credit = hedgesInRowMax;
  /** Second requests so far. */
  sentCount = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  async send(signal: AbortSignal | undefined, send: Send): Promise<Reply> {
    const delayMs = this.#delayMs();
    this.#credit = Math.min(hedgesInRowMax, this.#credit + hedgesPerRead);
    const first = this.#start(signal, send);
    if (delayMs === null || this.#credit < 1) return first.reply;
    const isSlow = await isPendingAfter(first.reply, delayMs);
    if (!isSlow || signal?.aborted || this.#credit < 1) return first.reply;
    this.#credit--;
    this.sentCount++;
    const second = this.#start(signal, send);
    const attempts = [first, second];
    // One that fails leaves it to the other; when both do, the first one's error counts.
    const winner = await Promise.any(
      attempts.map(async (attempt) => ({ attempt, reply: await attempt.reply })),
    ).catch((error: AggregateError) => {
      throw error.errors[0];
    });
    for (const attempt of attempts) if (attempt !== winner.attempt) attempt.abandon();
    return winner.reply;
  }

  #start(
    signal: AbortSignal | undefined,
    send: Send,
  ): { reply: Promise<Reply>; abandon: () => void } {
    const controller = new AbortController();
    const joined = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
    const startMs = this.#now();
    const reply = send(joined);
    const abandon = (): void => {
      controller.abort(new Error("another reply was faster"));
      // It may have come at the same moment.
      reply.then((late) => late.discard()).catch(() => undefined);
    };
    reply.then(() => this.#note(this.#now() - startMs)).catch(() => undefined);
    return { reply, abandon };
  }

  #note(milliseconds: number): void {
    this.#samplesMs[this.#next] = milliseconds;
    this.#next = (this.#next + 1) % hedgeSamplesMax;
  }

  /** Null while too little is known. */
  #delayMs(): number | null {
    if (this.#samplesMs.length < hedgeSamplesMin) return null;
    const sorted = this.#samplesMs.toSorted((a, b) => a - b);
    const slow = sorted[Math.floor((sorted.length - 1) * hedgeQuantile)] ?? hedgeDelayMsMax;
    return Math.min(hedgeDelayMsMax, Math.max(hedgeDelayMsMin, slow * 1.5));
  }
}

async function isPendingAfter(work: Promise<unknown>, delayMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(true), delayMs);
  });
  const ended = work.then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([ended, late]);
  } finally {
    clearTimeout(timer);
  }
}
