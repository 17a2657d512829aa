/** How many sprites of one organization may have processes at once. */

import { SpriteError } from "../contract/errors.ts";
import type { Worker } from "../worker/worker.ts";
import { capacityRetryMs, capacityWaitersMax, capacityWaitMsMax } from "./limits.ts";
import type { Organization } from "./organization.ts";

interface Waiter {
  organization: Organization;
  spriteId: string;
  onPlace: (leave: () => void) => void;
}

/** A place is taken while a sprite starts, and by whatever its worker does not call cold. */
export class RunningLimit {
  readonly countMax: number | null;
  readonly #worker: Pick<Worker, "status">;
  /** By organization, the sprites that are about to run. */
  readonly #starting = new Map<string, Set<string>>();
  /** In the order in which they came. */
  readonly #waiters = new Set<Waiter>();

  /** @param countMax null: as many as the machine bears */
  constructor(countMax: number | null, worker: Pick<Worker, "status">) {
    this.countMax = countMax;
    this.#worker = worker;
  }

  /**
   * Takes a place for a start; the function that it returns is called when the start has ended.
   * @throws SpriteError concurrent_sprite_limit_exceeded
   */
  enter(organization: Organization, spriteId: string): () => void {
    const { slug } = organization.record;
    const count = this.#count(organization, spriteId);
    if (this.countMax !== null && count >= this.countMax) throw this.#full(count);
    const starting = this.#starting.get(slug) ?? new Set<string>();
    this.#starting.set(slug, starting.add(spriteId));
    return () => {
      starting.delete(spriteId);
      if (starting.size === 0) this.#starting.delete(slug);
      this.notify();
    };
  }

  /**
   * Waits for a place, first come, first served. @throws SpriteError
   * concurrent_sprite_limit_exceeded when none comes free in time, unavailable when the signal ends it
   */
  async wait(
    organization: Organization,
    spriteId: string,
    signal: AbortSignal,
  ): Promise<() => void> {
    if (signal.aborted) throw nobodyWaits();
    const { promise, resolve, reject } = Promise.withResolvers<() => void>();
    const waiter: Waiter = { organization, spriteId, onPlace: resolve };
    if (this.#waiters.size >= capacityWaitersMax) return this.enter(organization, spriteId);
    const giveUp = (): void => reject(this.#full(this.#count(organization, spriteId)));
    const timer = setTimeout(giveUp, capacityWaitMsMax);
    const onAbort = (): void => reject(nobodyWaits());
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiters.add(waiter);
    this.notify();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      this.#waiters.delete(waiter);
    }
  }

  /** A place may have come free. */
  notify(): void {
    for (const waiter of [...this.#waiters]) {
      const { organization, spriteId, onPlace } = waiter;
      if (this.countMax !== null && this.#count(organization, spriteId) >= this.countMax) continue;
      this.#waiters.delete(waiter);
      onPlace(this.enter(organization, spriteId));
    }
  }

  /** Of the organization's sprites besides this one. */
  #count(organization: Organization, spriteId: string): number {
    if (this.countMax === null) return 0;
    const taken = new Set(this.#starting.get(organization.record.slug));
    for (const id of organization.spriteIds()) {
      if (this.#worker.status(id) !== "cold") taken.add(id);
    }
    taken.delete(spriteId);
    return taken.size;
  }

  #full(count: number): SpriteError {
    const message = `${count} sprites of the organization are running, as many as may: let one sleep or destroy it`;
    return new SpriteError("concurrent_sprite_limit_exceeded", message, {
      details: {
        current_count: count,
        limit: this.countMax,
        retry_after_seconds: capacityRetryMs / 1000,
      },
    });
  }
}

function nobodyWaits(): SpriteError {
  return new SpriteError("unavailable", "nobody waits any more");
}
