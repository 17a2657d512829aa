import type { Log } from "../base/log.ts";
import { settleRetryMs, settleTriesMax } from "./limits.ts";

export interface SettlerOptions {
  /** Stores what is on this machine only and lets go of the disk in the bucket. @throws what to try again after */
  settle: (spriteId: string) => Promise<void>;
  retryMs?: number;
  log: Log;
}

/**
 * Sees to disks that no agent serves and that were not closed in order: an agent has died for good, or the
 * bucket was away when it stopped. What they wrote last gets into the bucket without anybody having to start
 * them, and other servers need not wait for this one.
 */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #underWay = new Map<string, Promise<void>>();
  /** One at a time: each of them opens a volume in this process. */
  #last: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  add(spriteId: string, tries = 1): void {
    if (this.#isStopped || this.#timers.has(spriteId)) return;
    const pauseMs = (this.#options.retryMs ?? settleRetryMs) * 2 ** (tries - 1);
    const timer = setTimeout(() => {
      this.#last = this.#last.then(() => this.#try(spriteId, tries));
    }, pauseMs);
    timer.unref();
    this.#timers.set(spriteId, timer);
  }

  /** Leaves the disk alone, since an agent is to have it; settles when nothing here has it open any more. */
  async leave(spriteId: string): Promise<void> {
    this.#drop(spriteId);
    await this.#underWay.get(spriteId);
    // If it failed it is to be tried again, which would take the disk from the agent.
    this.#drop(spriteId);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const spriteId of [...this.#timers.keys()]) this.#drop(spriteId);
    await this.#last;
  }

  #drop(spriteId: string): void {
    clearTimeout(this.#timers.get(spriteId));
    this.#timers.delete(spriteId);
  }

  async #try(spriteId: string, tries: number): Promise<void> {
    // Somebody may have come for it while others were seen to.
    if (!this.#timers.delete(spriteId)) return;
    const attempt = this.#attempt(spriteId, tries);
    this.#underWay.set(spriteId, attempt);
    await attempt;
    this.#underWay.delete(spriteId);
  }

  async #attempt(spriteId: string, tries: number): Promise<void> {
    const { settle, log } = this.#options;
    try {
      await settle(spriteId);
    } catch (error) {
      const news = { err: error, spriteId, tries };
      log.warn(news, "a sprite's last changes are not in the bucket yet");
      // In the end it waits for its next start.
      if (tries < settleTriesMax) this.add(spriteId, tries + 1);
    }
  }
}
