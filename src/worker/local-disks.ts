import { readdir, rm } from "node:fs/promises";
import { destroyVolume } from "../storage/volume/destroy.ts";
import { mayHaveMore } from "../storage/volume/fork.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import { DiskTenure } from "./disk-tenure.ts";
import { settleSyncIntervalMs } from "./limits.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import { spriteCacheDirectory } from "./places.ts";
import { Settler } from "./settler.ts";

/** The disks of this machine's sprites: whose each of them is in the bucket, and whether all of it is there. */
export class LocalDisks {
  readonly #options: LocalWorkerOptions;
  readonly #settler: Settler;
  /** Of the sprites that have run here. */
  readonly #tenures = new Map<string, DiskTenure>();

  constructor(options: LocalWorkerOptions) {
    this.#options = options;
    const { log } = options;
    this.#settler = new Settler({ settle: (spriteId) => this.#settle(spriteId), log });
  }

  tenureOf(spriteId: string): DiskTenure {
    const tenure = this.#tenures.get(spriteId) ?? new DiskTenure(this.#options.serverTenure);
    this.#tenures.set(spriteId, tenure);
    return tenure;
  }

  /** True when this machine may have more of it than the bucket. */
  mayHaveMore(spriteId: string): boolean {
    const cacheDirectory = spriteCacheDirectory(this.#options.places, spriteId);
    return mayHaveMore({ cacheDirectory, prefix: `sprites/${spriteId}` });
  }

  /** An agent is to have it, or nobody any more: settles when nothing here has it open. */
  async leave(spriteId: string): Promise<void> {
    await this.#settler.leave(spriteId);
  }

  /** Nothing of the sprite runs any more. `isWanted`: what is left on this machine only is to be stored. */
  onEnded(spriteId: string, end: { tenure: DiskTenure; isWanted: boolean }): void {
    if (end.tenure.isReleased) this.#tenures.delete(spriteId);
    else if (end.isWanted) this.#settler.add(spriteId);
  }

  /** Those that the server before was killed over, or that it could not store. */
  async addUnsettled(isRunning: (spriteId: string) => boolean): Promise<void> {
    const directory = spriteCacheDirectory(this.#options.places, "");
    const spriteIds = await readdir(directory).catch(() => []);
    for (const id of spriteIds) {
      if (!isRunning(id) && this.mayHaveMore(id)) this.#settler.add(id);
    }
  }

  /** Ends all of it, here and in the bucket. Nothing may have it open. */
  async destroy(spriteId: string): Promise<void> {
    this.#tenures.delete(spriteId);
    // The bucket first: what a crash leaves then is disposable, and the registry still names the
    // sprite for another try.
    await destroyVolume({ store: this.#options.store, prefix: `sprites/${spriteId}` });
    const cacheDirectory = spriteCacheDirectory(this.#options.places, spriteId);
    await rm(cacheDirectory, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#settler.stop();
  }

  async #settle(spriteId: string): Promise<void> {
    if (!this.mayHaveMore(spriteId)) return;
    const { bucket, serverId, places, cacheSizeBytesMax, diskSizeBytes, log } = this.#options;
    const volume = await openVolume({
      ...{ bucket, prefix: `sprites/${spriteId}`, server: serverId },
      cacheDirectory: spriteCacheDirectory(places, spriteId),
      ...{ cacheSizeBytesMax, sizeBytes: diskSizeBytes, readOnly: false },
      syncIntervalMs: settleSyncIntervalMs,
    });
    await volume.close({ discard: false });
    this.#tenures.delete(spriteId);
    log.info({ spriteId }, "stored what a sprite had not");
  }
}
