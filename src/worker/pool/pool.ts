/**
 * The warm pool: sprites that are made already and belong to nobody, so that a create has only to give one its name. Each serves
 * once, and is made anew then. The pool decides how many there are and when; it does not know how one is made.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../../base/log.ts";
import { settlesWithin } from "../../base/wait.ts";
import {
  clearMsMax,
  lookAgainMs,
  lookMs,
  putOffMsMax,
  retryMs,
  retryMsMax,
  spareAgeMsMax,
} from "./limits.ts";
import type { PoolState, Reservation } from "../worker.ts";
import { PoolSize } from "./pool-size.ts";

export interface PoolParts {
  /** As configured; 0: no pool. */
  size: number;
  /** Makes one; settles when it sleeps. @throws why it did not get there: something may be left of it */
  make: (spriteId: string) => Promise<void>;
  /** Ends it, with all that it has here and in the bucket. */
  destroy: (spriteId: string) => Promise<void>;
  newId: () => string;
  /** Somebody waits for a sprite's start: nothing else is started beside it. */
  isBusy: () => boolean;
  /** Share of the machine's memory that is free. */
  freeShare: () => Promise<number>;
  now?: () => number;
  /** What all pauses are multiplied with. */
  pace?: number;
  log: Log;
}

export class Pool {
  readonly #parts: PoolParts;
  readonly #size: PoolSize;
  readonly #now: () => number;
  /** Those that stand by, the oldest first, with when they were made. */
  readonly #ready = new Map<string, number>();
  readonly #reserved = new Map<string, number>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #stopped = new AbortController();
  #target = 0;
  #making: string | null = null;
  #failures = 0;
  #running: Promise<void> = Promise.resolve();
  #nudge: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(parts: PoolParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#size = new PoolSize(parts.size, parts.now);
  }

  /** Begins to fill it. */
  start(): void {
    if (this.#parts.size > 0) this.#running = this.#run();
  }

  get state(): PoolState {
    return { ready: this.#ready.size, target: this.#target, making: this.#making === null ? 0 : 1 };
  }

  noteCreate(): void {
    this.#size.noteCreate();
  }

  /** Null when there is none. The newest, whose memory is the likeliest to be there still. */
  reserve(): Reservation | null {
    const newest = [...this.#ready].at(-1);
    if (newest === undefined || this.#stopped.signal.aborted) return null;
    const [spriteId, madeAtMs] = newest;
    this.#ready.delete(spriteId);
    this.#reserved.set(spriteId, madeAtMs);
    return { spriteId, release: () => this.#giveBack(spriteId) };
  }

  /** It is somebody's from now on. False when it is not there any more. */
  claim(spriteId: string): boolean {
    const isThere = this.#reserved.delete(spriteId);
    this.#nudge.resolve();
    return isThere;
  }

  /** It has ended by itself. */
  onLost(spriteId: string): void {
    const wasThere = this.#ready.delete(spriteId) || this.#reserved.delete(spriteId);
    if (!wasThere || this.#stopped.signal.aborted) return;
    this.#parts.log.warn({ spriteId }, "a spare sprite ended by itself");
    this.#destroy(spriteId);
    this.#nudge.resolve();
  }

  /** Ends all of them, as far as that goes quickly. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#nudge.resolve();
    for (const spriteId of [...this.#ready.keys(), ...this.#reserved.keys()]) {
      this.#destroy(spriteId);
    }
    this.#ready.clear();
    this.#reserved.clear();
    if (this.#making !== null) this.#destroy(this.#making);
    await settlesWithin(Promise.all([...this.#leaving, this.#running]), clearMsMax);
  }

  #giveBack(spriteId: string): void {
    const madeAtMs = this.#reserved.get(spriteId);
    if (madeAtMs === undefined) return;
    this.#reserved.delete(spriteId);
    this.#ready.set(spriteId, madeAtMs);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const pauseMs = await this.#look().catch((error: unknown) => {
        this.#parts.log.error({ err: error }, "the warm pool cannot be looked after");
        return lookMs;
      });
      await Promise.race([this.#pause(pauseMs), this.#nudge.promise]);
      this.#nudge = Promise.withResolvers();
    }
  }

  /** One step towards what there should be; how long to wait for the next one, unless something happens before. */
  async #look(): Promise<number> {
    const current = this.#ready.size;
    this.#target = this.#size.target({ freeShare: await this.#parts.freeShare(), current });
    const [oldest] = this.#ready;
    const isOld = oldest !== undefined && this.#now() - oldest[1] >= spareAgeMsMax;
    if (oldest !== undefined && (isOld || this.#ready.size > this.#target)) {
      this.#ready.delete(oldest[0]);
      this.#destroy(oldest[0]);
    }
    if (this.#ready.size >= this.#target || this.#stopped.signal.aborted) return lookMs;
    await this.#untilQuiet();
    return await this.#makeOne();
  }

  /** Whoever waits for a sprite has the machine to himself, but not for ever. */
  async #untilQuiet(): Promise<void> {
    const { signal } = this.#stopped;
    for (
      let waitedMs = 0;
      waitedMs < putOffMsMax && this.#parts.isBusy();
      waitedMs += lookAgainMs
    ) {
      await delay(lookAgainMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
    }
  }

  async #makeOne(): Promise<number> {
    if (this.#stopped.signal.aborted) return lookMs;
    const { make, newId, log } = this.#parts;
    const spriteId = newId();
    this.#making = spriteId;
    try {
      await make(spriteId);
      this.#failures = 0;
      if (this.#stopped.signal.aborted) return lookMs;
      this.#ready.set(spriteId, this.#now());
      log.info({ spriteId, ready: this.#ready.size }, "a spare sprite stands by");
      return 0;
    } catch (error) {
      if (this.#stopped.signal.aborted) return lookMs;
      this.#destroy(spriteId);
      const pauseMs = Math.min(retryMs * 2 ** this.#failures, retryMsMax);
      this.#failures += 1;
      log.warn({ err: error, failures: this.#failures, pauseMs }, "no spare sprite was made");
      // Not even a nudge is a reason to try again before that.
      await this.#pause(pauseMs * (0.75 + Math.random() / 2));
      return 0;
    } finally {
      this.#making = null;
    }
  }

  /** Shorter when it is stopped. */
  async #pause(pauseMs: number): Promise<void> {
    const { pace = 1 } = this.#parts;
    const { signal } = this.#stopped;
    await delay(pauseMs * pace, undefined, { signal, ref: false }).catch(() => undefined);
  }

  #destroy(spriteId: string): void {
    const { destroy, log } = this.#parts;
    const leaving = destroy(spriteId).catch((error: unknown) => {
      // Its record stays, so the next start of the server tries again.
      log.error({ err: error, spriteId }, "something is left of a spare sprite");
    });
    this.#leaving.add(leaving);
    void leaving.finally(() => this.#leaving.delete(leaving));
  }
}
