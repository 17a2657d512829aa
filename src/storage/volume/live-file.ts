/** The live disk on the slow lane: reads that must fetch, writes of odd shape, trims, flushes. */
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { isSameLayout } from "../block-map/layout.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { BlockCache } from "../chunk-cache/block-cache.ts";
import type { Eviction } from "../chunk-cache/eviction.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import type { PunchHole } from "../chunk-cache/punch-hole.ts";
import type { BlockFile } from "../fuse/fuse-server.ts";
import { readAheadUnits, readAttemptsMax, roomForWriteBytes } from "./limits.ts";
import type { SegmentReader } from "./segment-reader.ts";

export interface LiveFileOptions {
  map: BlockMap;
  local: LocalCache;
  reader: SegmentReader;
  eviction: Eviction;
  punchHole: PunchHole;
  readOnly: boolean;
}

export class LiveFile implements BlockFile {
  readonly sizeBytes: number;
  readonly isWritable: boolean;
  readonly #cache: BlockCache;
  readonly #options: LiveFileOptions;
  /** Units being fetched, so that nobody fetches one twice at a time. */
  readonly #fetching = new Map<number, Promise<void>>();
  /** Where the next read would begin if the reader goes on in order. */
  #nextUnit = -1;

  constructor(options: LiveFileOptions) {
    this.#options = options;
    this.#cache = options.local.cache;
    this.sizeBytes = this.#cache.sizeBytes;
    this.isWritable = !options.readOnly;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(lengthBytes);
    for (let attempt = 0; attempt < readAttemptsMax; attempt++) {
      if (this.#cache.tryRead(offsetBytes, lengthBytes, bytes, 0)) return bytes;
      await this.#fetchFor(offsetBytes, lengthBytes);
    }
    throw new SpriteError("storage_failure", "the cache is too small for one read");
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    if (offsetBytes % blockSizeBytes === 0 && bytes.length % blockSizeBytes === 0) {
      this.#makingRoom(() => this.#cache.write(offsetBytes, bytes, 0, bytes.length));
      return;
    }
    for (let attempt = 0; attempt < readAttemptsMax; attempt++) {
      if (this.#makingRoom(() => this.#cache.tryWriteUnaligned(offsetBytes, bytes))) return;
      await this.#fetchFor(offsetBytes, bytes.length);
    }
    throw new SpriteError("storage_failure", "the cache is too small for one write");
  }

  /** Whole blocks are given back; the rest is overwritten with zeros. */
  async punch(offsetBytes: number, lengthBytes: number): Promise<void> {
    const end = offsetBytes + lengthBytes;
    const first = Math.ceil(offsetBytes / blockSizeBytes) * blockSizeBytes;
    const last = Math.floor(end / blockSizeBytes) * blockSizeBytes;
    if (first >= last) {
      await this.write(offsetBytes, new Uint8Array(lengthBytes));
      return;
    }
    if (offsetBytes < first) await this.write(offsetBytes, new Uint8Array(first - offsetBytes));
    if (last < end) await this.write(last, new Uint8Array(end - last));
    this.#cache.punch(first, last - first, this.#options.punchHole);
  }

  flush(): Promise<void> {
    return this.#options.local.flush();
  }

  /** Brings units into the cache. */
  async fetchUnits(units: readonly number[]): Promise<void> {
    const waits: Promise<void>[] = [];
    const wanted: number[] = [];
    for (const unit of units) {
      const running = this.#fetching.get(unit);
      if (running !== undefined) waits.push(running);
      else if (this.#cache.missingBlocks(unit) !== 0) wanted.push(unit);
    }
    if (wanted.length > 0) {
      const fetch = this.#fetchNow(wanted).finally(() => {
        for (const unit of wanted) this.#fetching.delete(unit);
      });
      for (const unit of wanted) this.#fetching.set(unit, fetch);
      waits.push(fetch);
    }
    await Promise.all(waits);
  }

  async #fetchNow(units: readonly number[]): Promise<void> {
    const { map, reader } = this.#options;
    const layouts = units.map((unit) => map.lookup(map.liveFileId, unit));
    const isCurrent = (index: number): boolean =>
      isSameLayout(layouts[index] ?? null, map.lookup(map.liveFileId, units[index] ?? 0));
    let contents: Map<UnitLayout, Uint8Array>;
    try {
      contents = await reader.readUnits(layouts.filter((layout) => layout !== null));
    } catch (error) {
      // What the map has stopped naming may be gone from the bucket: the reader asks again.
      if (units.every((_, index) => isCurrent(index))) throw error;
      return;
    }
    for (const [index, unit] of units.entries()) {
      const layout = layouts[index] ?? null;
      // The guest may have overwritten the unit, a cut may have stored that, and eviction may have
      // dropped it again while the old content was on its way: it must not be taken for the new
      // one. The reader asks again.
      if (layout === null || !isCurrent(index)) continue;
      const content = contents.get(layout);
      assert(content !== undefined, "every unit was read");
      this.#makingRoom(() => this.#cache.fill(unit, content));
    }
  }

  async #fetchFor(offsetBytes: number, lengthBytes: number): Promise<void> {
    const first = Math.floor(offsetBytes / unitSizeBytes);
    const end = Math.ceil((offsetBytes + lengthBytes) / unitSizeBytes);
    const isInOrder = first === this.#nextUnit || first === this.#nextUnit - 1;
    this.#nextUnit = end;
    // Before, not after: what is fetched for a read must still be here when it is read.
    this.#options.eviction.run();
    await this.fetchUnits(range(first, end));
    if (!isInOrder) return;
    const aheadEnd = Math.min(end + readAheadUnits, this.#cache.state.unitCount);
    // A unit that cannot be read ahead is an error only for whoever asks for it.
    this.fetchUnits(range(end, aheadEnd)).catch(() => undefined);
    this.#nextUnit = aheadEnd;
  }

  /** When the local disk is full, clean units make place once. */
  #makingRoom<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      if (this.#options.eviction.makeRoom(roomForWriteBytes) === 0) throw error;
      return work();
    }
  }
}

function range(first: number, end: number): number[] {
  return Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index);
}
