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

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  add(spriteId: string, tries = 1): void {
    if (this.#timers.has(spriteId)) return;
    const pauseMs = (this.#options.retryMs ?? settleRetryMs) * 2 ** (tries - 1);
    const timer = setTimeout(() => {
      this.#last = this.#last.then(() => this.#try(spriteId, tries));
    }, pauseMs);
    timer.unref();
    this.#timers.set(spriteId, timer);
  }

  /** Leaves the disk alone, since an agent is to have it; settles when nothing here has it open any more. */
  async leave(spriteId: string): Promise<void> {
    clearTimeout(this.#timers.get(spriteId));
    this.#timers.delete(spriteId);
    await this.#underWay.get(spriteId);
  }

  async stop(): Promise<void> {
    for (const spriteId of [...this.#timers.keys()]) await this.leave(spriteId);
    await this.#last;
  }

  async #try(spriteId: string, tries: number): Promise<void> {
    // Somebody may have come for it while others were seen to.
    if (!this.#timers.delete(spriteId)) return;
    const { settle, log } = this.#options;
    const settling = settle(spriteId).then(
      () => true,
      (error: unknown) => {
        log.warn(
          { err: error, spriteId, tries },
          "a sprite's last changes are not in the bucket yet",
        );
        return false;
      },
    );
    const ended = settling.then(() => undefined);
    this.#underWay.set(spriteId, ended);
    const isSettled = await settling;
    this.#underWay.delete(spriteId);
    // In the end it waits for its next start.
    if (!isSettled && tries < settleTriesMax) this.add(spriteId, tries + 1);
  }
}
