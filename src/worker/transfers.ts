/** Sprites as archives, out of the bucket and into it, and sprites made of others there. */
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { SpriteError } from "../contract/errors.ts";
import { exportVolume } from "../storage/archive/export-volume.ts";
import { readArchive } from "../storage/archive/format.ts";
import { importVolume, takeSprite } from "../storage/archive/import-volume.ts";
import type { ObjectStore } from "../storage/object-store/object-store.ts";
import { destroyVolume } from "../storage/volume/destroy.ts";
import { forkVolume } from "../storage/volume/fork.ts";
import { imageExists } from "../storage/volume/image.ts";
import { checkImportedDisk } from "./imported-disk.ts";
import type { Places } from "./places.ts";
import type { OpenedArchive } from "./worker.ts";

export interface TransfersOptions {
  store: ObjectStore;
  /** Its address, for processes that open it themselves. */
  bucket: string;
  serverId: string;
  places: Places;
}

export class Transfers {
  readonly #options: TransfersOptions;
  readonly #store: ObjectStore;
  readonly #directory: string;
  /** What a server that was killed left there is of no use. */
  readonly #cleared: Promise<void>;

  constructor(options: TransfersOptions) {
    const { store, places } = options;
    this.#options = options;
    this.#store = store;
    this.#directory = join(places.cacheDirectory, "transfers");
    this.#cleared = rm(this.#directory, { recursive: true, force: true });
    // Whoever transfers something hears of it.
    this.#cleared.catch(() => undefined);
  }

  async *export(spriteId: string, sprite: object): AsyncGenerator<Uint8Array> {
    yield* exportVolume({
      ...{ store: this.#store, prefix: `sprites/${spriteId}`, sprite },
      scratchDirectory: await this.#scratchDirectory(),
    });
  }

  /** @throws SpriteError not_found: the source was destroyed, or has no such checkpoint; storage_failure */
  async fork(
    spriteId: string,
    from: { spriteId: string; checkpoint: string | null },
  ): Promise<void> {
    await forkVolume({
      ...{ store: this.#store, from: `sprites/${from.spriteId}`, checkpoint: from.checkpoint },
      ...{ to: `sprites/${spriteId}`, forkId: spriteId },
      scratchDirectory: await this.#scratchDirectory(),
    });
  }

  /** @throws SpriteError invalid_request: it is no archive */
  async open(source: AsyncIterable<Uint8Array>): Promise<OpenedArchive> {
    const sections = readArchive(source);
    const sprite = await takeSprite(sections);
    return {
      sprite,
      import: async (spec) => {
        if (!(await imageExists(this.#store, spec.imageHash))) {
          const message = `the sprite needs image ${spec.imageHash}, which is not in this bucket`;
          throw new SpriteError("invalid_request", message);
        }
        const prefix = `sprites/${spec.id}`;
        await importVolume({
          ...{ store: this.#store, prefix, sections },
          scratchDirectory: await this.#scratchDirectory(),
        });
        await this.#checkImported(prefix);
      },
    };
  }

  /** Nothing is left of a disk that does not pass. */
  async #checkImported(prefix: string): Promise<void> {
    try {
      const scratchDirectory = await this.#scratchDirectory();
      const { bucket, serverId } = this.#options;
      await checkImportedDisk({ bucket, serverId, prefix, scratchDirectory });
    } catch (error) {
      await destroyVolume({ store: this.#store, prefix });
      throw error;
    }
  }

  async #scratchDirectory(): Promise<string> {
    await this.#cleared;
    return join(this.#directory, randomUUID());
  }
}
