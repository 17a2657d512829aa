/** Segments on their way to the bucket: complete, synced files named by their segment's number. */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { open, readFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { BlockMap } from "../block-map/block-map.ts";
import { syncDirectory } from "../local-files.ts";
import { openStagedFilesMax } from "./limits.ts";

export class Staging {
  readonly #directory: string;
  /** Committed by the map and not in the bucket yet. */
  readonly #waiting = new Set<number>();
  /** Files written by this process, kept open: whoever deletes the cache directory takes only their names. */
  readonly #open = new Map<number, FileHandle>();

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
    const file = await open(this.path(segment), "w+");
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } catch (error) {
      await file.close();
      throw error;
    }
    if (this.#open.size < openStagedFilesMax) this.#open.set(segment, file);
    else await file.close();
  }

  /** Gives a file that was deleted under us its name back, before it is uploaded. */
  async restoreName(segment: number): Promise<void> {
    const file = this.#open.get(segment);
    if (file === undefined || existsSync(this.path(segment))) return;
    // A file without a name cannot be linked again, but read.
    const bytes = await readFile(`/proc/self/fd/${file.fd}`);
    this.#open.delete(segment);
    await file.close();
    await this.write(segment, bytes);
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
    for (const segment of segments) this.#remove(segment);
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
    this.#remove(segment);
  }

  /** Lets go of the open files; those that wait keep their names. */
  async close(): Promise<void> {
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const file of files) await file.close();
  }

  #remove(segment: number): void {
    rmSync(this.path(segment), { force: true });
    const file = this.#open.get(segment);
    this.#open.delete(segment);
    // Closing a file that was only read since its last sync has nothing left to fail at.
    void file?.close();
  }
}
