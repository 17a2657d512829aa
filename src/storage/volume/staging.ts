/** Segments on their way to the bucket: complete, synced files named by their segment's number. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { BlockMap } from "../block-map/block-map.ts";
import { syncDirectory } from "../local-files.ts";

export class Staging {
  readonly #directory: string;
  /** Committed by the map and not in the bucket yet. */
  readonly #waiting = new Set<number>();

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Takes up what an earlier process left: files that the map names wait, others belong to no cut. */
  recover(map: BlockMap): void {
    const files = readdirSync(this.#directory);
    if (files.length === 0) return;
    const named = new Set<string>();
    for (const { id } of map.segments()) named.add(String(id));
    for (const file of files) {
      if (named.has(file)) this.#waiting.add(Number(file));
      else rmSync(join(this.#directory, file), { force: true });
    }
  }

  path(segment: number): string {
    return join(this.#directory, String(segment));
  }

  /** Writes a segment's file, synced. It counts only once `commit` names it. */
  async write(segment: number, bytes: Uint8Array): Promise<void> {
    // The cache directory may be deleted under us: what is open of it goes on, and this directory is
    // all that is made again.
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const file = await open(this.path(segment), "w");
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  /** Makes the files' names durable, before the map names them. */
  async syncNames(): Promise<void> {
    await syncDirectory(this.#directory);
  }

  commit(segments: readonly number[]): void {
    for (const segment of segments) this.#waiting.add(segment);
  }

  /** Removes files of a cut that was taken back. */
  discard(segments: readonly number[]): void {
    for (const segment of segments) rmSync(this.path(segment), { force: true });
  }

  waiting(): number[] {
    return [...this.#waiting];
  }

  has(segment: number): boolean {
    return this.#waiting.has(segment);
  }

  /** The bucket has it. */
  uploaded(segment: number): void {
    this.#waiting.delete(segment);
    rmSync(this.path(segment), { force: true });
  }
}
