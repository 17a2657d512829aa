/**
 * Ends sprites that have been suspended for long, or whose memory the machine needs: the status *cold*. One at a time, the one that has
 * slept longest first.
 */
import type { Log } from "../base/log.ts";
import { readMachineMemory } from "./starts/machine-memory.ts";
import { memoryFreeShareMin, retireLookMs } from "./limits.ts";

export interface RetirementParts {
  /** How long a sprite stays suspended, ms; null: until its memory is needed. */
  warmMsMax: number | null;
  /** Ends the sprite unless it is needed; false when it is. */
  retire: (spriteId: string, because: string) => Promise<boolean>;
  /** Share of the machine's memory that is free. */
  freeShare?: () => Promise<number>;
  now?: () => number;
  log: Log;
}

export class Retirement {
  readonly #parts: RetirementParts;
  readonly #now: () => number;
  /** Since when each sleeps; the one that has slept longest comes first. */
  readonly #asleepSince = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;

  constructor(parts: RetirementParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  onAsleep(spriteId: string): void {
    this.#asleepSince.delete(spriteId);
    this.#asleepSince.set(spriteId, this.#now());
    this.#timer ??= setInterval(() => void this.look(), retireLookMs).unref();
  }

  /** It runs again, or is gone. */
  onAwake(spriteId: string): void {
    this.#asleepSince.delete(spriteId);
    if (this.#asleepSince.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  stop(): void {
    for (const spriteId of [...this.#asleepSince.keys()]) this.onAwake(spriteId);
  }

  /** One look; the timer's. */
  async look(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      await this.#retireNext();
    } catch (error) {
      this.#parts.log.error({ err: error }, "a suspended sprite could not be ended");
    } finally {
      this.#isBusy = false;
    }
  }

  async #retireNext(): Promise<void> {
    const { warmMsMax, retire } = this.#parts;
    for (const [spriteId, sinceMs] of [...this.#asleepSince]) {
      const isOld = warmMsMax !== null && this.#now() - sinceMs >= warmMsMax;
      const isShort = !isOld && (await this.#freeShare()) < memoryFreeShareMin;
      if (!isOld && !isShort) return;
      const because = isOld ? "it had been suspended for long" : "the machine needed its memory";
      if (await retire(spriteId, because)) this.onAwake(spriteId);
    }
  }

  async #freeShare(): Promise<number> {
    return await (this.#parts.freeShare ?? freeMemoryShare)();
  }
}

/** Share of the machine's memory that is free, or would be if it were needed. */
export async function freeMemoryShare(): Promise<number> {
  const { freeBytes, totalBytes } = await readMachineMemory();
  return freeBytes / totalBytes;
}
