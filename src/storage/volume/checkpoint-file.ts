/** A checkpoint's content as a read-only file. */
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { isSameLayout } from "../block-map/layout.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { BlockCache } from "../chunk-cache/block-cache.ts";
import type { BlockFile } from "../fuse/fuse-server.ts";
import { checkpointCacheUnitsMax } from "./limits.ts";
import type { SegmentReader } from "./segment-reader.ts";

export interface CheckpointFileOptions {
  map: BlockMap;
  cache: BlockCache;
  reader: SegmentReader;
  checkpointId: string;
}

export class CheckpointFile implements BlockFile {
  readonly isWritable = false;
  readonly sizeBytes: number;
  readonly #options: CheckpointFileOptions;
  readonly #fileId: number;
  /** Least recently used first. */
  readonly #units = new Map<number, Uint8Array>();
  #isHidden = false;

  /** @throws SpriteError not_found */
  constructor(options: CheckpointFileOptions) {
    this.#options = options;
    this.#fileId = options.map.checkpointFileId(options.checkpointId);
    this.sizeBytes = options.cache.sizeBytes;
  }

  /**
   * After this every read fails: the map may forget the checkpoint, and what it forgets must not
   * read as zeros.
   */
  hide(): void {
    this.#isHidden = true;
    this.#units.clear();
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (this.#isHidden) throw new SpriteError("not_found", "the checkpoint is not shown any more");
    const first = Math.floor(offsetBytes / unitSizeBytes);
    const count = Math.ceil((offsetBytes + lengthBytes) / unitSizeBytes) - first;
    const layouts = this.#options.map.lookupRange(this.#fileId, first, count);
    const contents = layouts.map((layout, index) => this.#atHand(first + index, layout));
    const missing = layouts.filter((layout, index) => layout !== null && contents[index] === null);
    const fetched = await this.#options.reader.readUnits(
      missing.filter((layout) => layout !== null),
    );
    const bytes = new Uint8Array(lengthBytes);
    for (const [index, layout] of layouts.entries()) {
      if (layout === null) continue;
      const unit = first + index;
      const content = contents[index] ?? fetched.get(layout);
      if (content === undefined) throw new SpriteError("storage_failure", "a unit was not read");
      if (fetched.has(layout)) this.#keep(unit, new Uint8Array(content));
      const start = unit * unitSizeBytes - offsetBytes;
      const from = Math.max(0, -start);
      const part = content.subarray(from, Math.min(unitSizeBytes, lengthBytes - start));
      bytes.set(part, Math.max(0, start));
    }
    return bytes;
  }

  async write(): Promise<void> {
    throw new SpriteError("invalid_request", "a checkpoint is read-only");
  }

  async punch(): Promise<void> {
    throw new SpriteError("invalid_request", "a checkpoint is read-only");
  }

  async flush(): Promise<void> {}

  /** The unit's content without a fetch: from memory, or from the live file where both are the same. */
  #atHand(unit: number, layout: UnitLayout | null): Uint8Array | null {
    if (layout === null) return null;
    const kept = this.#units.get(unit);
    if (kept !== undefined) {
      this.#units.delete(unit);
      this.#units.set(unit, kept);
      return kept;
    }
    const { map, cache } = this.#options;
    if (!isSameLayout(layout, map.lookup(map.liveFileId, unit))) return null;
    return cache.readClean(unit);
  }

  #keep(unit: number, content: Uint8Array): void {
    this.#units.set(unit, content);
    const oldest = this.#units.keys().next();
    if (this.#units.size > checkpointCacheUnitsMax && !oldest.done)
      this.#units.delete(oldest.value);
  }
}
