import type { Log } from "../base/log.ts";
import type { Worker } from "../worker/worker.ts";
import { destroyRetryDelayMs, destroyRetryDelayMsMax } from "./limits.ts";
import type { Organization } from "./organization.ts";

/** Removes what is left of deleted sprites, and goes on trying: their rows stay until it has worked. */
export class Removals {
  readonly #worker: Worker;
  readonly #log: Log;
  readonly #retries = new Set<NodeJS.Timeout>();
  #stopped = false;

  constructor(options: { worker: Worker; log: Log }) {
    this.#worker = options.worker;
    this.#log = options.log;
  }

  /** Finishes the deletes and undoes the creates that a crash cut short. As `remove`. */
  async removeUnfinished(organizations: readonly Organization[]): Promise<void> {
    const unfinished = organizations.flatMap((organization) =>
      organization.unfinishedSpriteIds().map((id) => ({ organization, id })),
    );
    for (const { organization, id } of unfinished) organization.setSpriteDestroying(id);
    await Promise.all(unfinished.map(({ organization, id }) => this.remove(organization, id)));
  }

  /**
   * Resolves after the first try. A failed one is repeated in the background, and by the next start
   * of the server.
   */
  async remove(organization: Organization, spriteId: string, attempt = 1): Promise<void> {
    try {
      await this.#worker.destroy(spriteId);
      if (!this.#stopped) organization.deleteSprite(spriteId);
    } catch (error) {
      this.#log.error({ err: error, spriteId, attempt }, "remove deleted sprite");
      this.#retryLater(organization, spriteId, attempt);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#retries) clearTimeout(timer);
    this.#retries.clear();
  }

  #retryLater(organization: Organization, spriteId: string, attempt: number): void {
    if (this.#stopped) return;
    const delayMs = Math.min(destroyRetryDelayMs * 2 ** (attempt - 1), destroyRetryDelayMsMax);
    const timer = setTimeout(
      () => {
        this.#retries.delete(timer);
        void this.remove(organization, spriteId, attempt + 1);
      },
      delayMs * (0.75 + Math.random() / 2),
    );
    this.#retries.add(timer.unref());
  }
}
