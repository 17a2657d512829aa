/** The warm pool of this machine's worker: what a spare sprite is, how one becomes somebody's, and what is left of one. */
import { randomUUID } from "node:crypto";
import type { Log } from "../../base/log.ts";
import { resolveIdleWindow } from "../../contract/idle-window.ts";
import { noPolicy } from "../../contract/policy.ts";
import type { SpriteIdentity } from "../../contract/sprite-identity.ts";
import { tellIdentity } from "../agent-settings.ts";
import { freeMemoryShare } from "../retirement.ts";
import type { PoolState, Reservation, SpriteSpec } from "../worker.ts";
import { removalTriesMax, retryMs, retryMsMax } from "./limits.ts";
import { Pool } from "./pool.ts";
import { SpareRecords } from "./spare-records.ts";

export interface SparesParts {
  size: number;
  dataDirectory: string;
  imageHash: string;
  /** Of sprites that have none of their own; null: never. */
  idleWindowMs: number | null;
  /** Starts it; settles when it sleeps. */
  start: (spec: SpriteSpec) => Promise<void>;
  /** Ends everything of it, here and in the bucket. */
  destroy: (spriteId: string) => Promise<void>;
  isBusy: () => boolean;
  log: Log;
}

/** What its programs would see as the host's name before it has one of its own; nobody ever does. */
const nobody = "sprite";

export class Spares {
  readonly #parts: SparesParts;
  readonly #records: SpareRecords;
  readonly #pool: Pool;

  constructor(parts: SparesParts) {
    const { size, isBusy, log } = parts;
    this.#parts = parts;
    this.#records = new SpareRecords(parts.dataDirectory);
    this.#pool = new Pool({
      ...{ size, isBusy, log, freeShare: freeMemoryShare },
      newId: () => `sprite-${randomUUID()}`,
      make: (spriteId) => this.#make(spriteId),
      destroy: (spriteId) => this.#destroy(spriteId),
    });
  }

  get state(): PoolState {
    return this.#pool.state;
  }

  /** Removes what a server that was killed left, and begins to make new ones. Never rejects. */
  async open(isRegistered: (spriteId: string) => boolean): Promise<void> {
    const { log } = this.#parts;
    for (const spriteId of await this.#records.list()) {
      try {
        // The registry comes first: a create writes there before it claims.
        if (isRegistered(spriteId)) await this.#records.remove(spriteId);
        else await this.#destroy(spriteId);
      } catch (error) {
        log.error({ err: error, spriteId }, "the record of a spare sprite stays");
      }
    }
    this.#pool.start();
  }

  reserve(): Reservation | null {
    return this.#pool.reserve();
  }

  noteCreate(): void {
    this.#pool.noteCreate();
  }

  onLost(spriteId: string): void {
    this.#pool.onLost(spriteId);
  }

  /**
   * Makes a spare the sprite that the spec says. Whatever comes of it, the pool gives it to nobody else from now on.
   * @param prepare brings it to where its agent can be told; resolves with the agent's socket
   * @throws SpriteError: it is no spare any more, and must be started anew
   */
  async claim(spec: SpriteSpec, prepare: () => Promise<string>): Promise<void> {
    if (!this.#pool.claim(spec.id)) throw new Error("the pool has given this spare up");
    // Whoever starts after a crash asks the registry before it believes the record.
    void this.#records.remove(spec.id).catch((error: unknown) => {
      this.#parts.log.warn({ err: error, spriteId: spec.id }, "the record of a spare stays");
    });
    const { name, environment, durability, policy } = spec;
    const idleWindowMs = resolveIdleWindow(spec.idleWindow, this.#parts.idleWindowMs);
    const identity: SpriteIdentity = { name, environment, durability, policy, idleWindowMs };
    await tellIdentity(await prepare(), identity);
  }

  async stop(): Promise<void> {
    await this.#pool.stop();
  }

  async #make(spriteId: string): Promise<void> {
    const { imageHash, start } = this.#parts;
    await this.#records.add(spriteId);
    await start({
      ...{ id: spriteId, name: nobody, environment: {}, imageHash },
      ...{ durability: "local", policy: noPolicy(), idleWindow: "default", isFork: false },
    });
  }

  /** Settles after the first try; a bucket that is away is tried again in the background. */
  async #destroy(spriteId: string, tries = 1): Promise<void> {
    try {
      await this.#parts.destroy(spriteId);
      await this.#records.remove(spriteId);
    } catch (error) {
      this.#parts.log.warn({ err: error, spriteId, tries }, "something is left of a spare sprite");
      if (tries >= removalTriesMax) return;
      const pauseMs = Math.min(retryMs * 2 ** tries, retryMsMax);
      setTimeout(() => void this.#destroy(spriteId, tries + 1), pauseMs).unref();
    }
  }
}
