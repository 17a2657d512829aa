import { join } from "node:path";
import type { Volume } from "../storage/volume/volume.ts";

/**
 * Checkpoints as read-only files. A view and a check may want the same one at the same time: it is
 * hidden when the last of them has let go.
 */
export class ShownCheckpoints {
  readonly #volume: Volume;
  readonly #fuseDirectory: string;
  readonly #counts = new Map<string, number>();

  constructor(options: { volume: Volume; runDirectory: string }) {
    this.#volume = options.volume;
    this.#fuseDirectory = join(options.runDirectory, "fuse");
  }

  /** Resolves with the file's path. @throws SpriteError not_found, conflict (not mounted) */
  async show(id: string): Promise<string> {
    // Counted first, so that whoever lets go meanwhile leaves it shown.
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    try {
      await this.#volume.showCheckpoint(id);
    } catch (error) {
      this.#release(id);
      throw error;
    }
    return join(this.#fuseDirectory, id);
  }

  /** Called once for each `show` that succeeded. */
  async hide(id: string): Promise<void> {
    if (this.#release(id) === 0) await this.#volume.hideCheckpoint(id);
  }

  #release(id: string): number {
    const count = (this.#counts.get(id) ?? 1) - 1;
    if (count > 0) this.#counts.set(id, count);
    else this.#counts.delete(id);
    return count;
  }
}
