/** Which spares this server has: one empty file each below its data directory, for the start after a kill. */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export class SpareRecords {
  readonly #directory: string;

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, "pool");
  }

  /** Before anything of it is made. */
  async add(spriteId: string): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await writeFile(join(this.#directory, spriteId), "", { flush: true });
  }

  /** It is gone, or somebody's. */
  async remove(spriteId: string): Promise<void> {
    await rm(join(this.#directory, spriteId), { force: true });
  }

  /** Those that a server recorded and did not remove: a loss of power may bring back one that is somebody's. */
  async list(): Promise<string[]> {
    return await readdir(this.#directory).catch(() => []);
  }
}
