import { ltxKey } from "../ltx/names.ts";
import type { ChainFile } from "./database-replica.ts";
import { recentFilesSizeBytesMax } from "./limits.ts";

/** The bytes of files that were shipped a moment ago, so that a merge need not fetch them. */
export class RecentFiles {
  readonly #bytes = new Map<string, Uint8Array>();
  #sizeBytes = 0;

  add(file: ChainFile, bytes: Uint8Array): void {
    this.#bytes.set(ltxKey("", file), bytes);
    this.#sizeBytes += bytes.length;
    for (const [name, old] of this.#bytes) {
      if (this.#sizeBytes <= recentFilesSizeBytesMax) return;
      this.#bytes.delete(name);
      this.#sizeBytes -= old.length;
    }
  }

  get(file: ChainFile): Uint8Array | null {
    return this.#bytes.get(ltxKey("", file)) ?? null;
  }

  remove(file: ChainFile): void {
    const name = ltxKey("", file);
    this.#sizeBytes -= this.#bytes.get(name)?.length ?? 0;
    this.#bytes.delete(name);
  }
}
