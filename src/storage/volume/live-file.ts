/** The live disk on the slow lane: reads that must fetch, writes of odd shape, trims, flushes. */
import { setTimeout as delay } from "node:timers/promises";
import { assert, must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { wholeSliceOf } from "../block-map/segment.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { BlockCache } from "../chunk-cache/block-cache.ts";
import type { Eviction } from "../chunk-cache/eviction.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import type { PunchHole } from "../chunk-cache/punch-hole.ts";
import { diskFullError } from "../chunk-cache/file-io.ts";
import { diskLow } from "../chunk-cache/disk-space.ts";
import { smallWriteBytesMax } from "../chunk-cache/limits.ts";
import { control } from "../chunk-cache/shared-state.ts";
import type { BlockFile } from "../fuse/fuse-server.ts";
import {
  fetchUnitsMax,
  readAttemptsMax,
  roomForWriteBytes,
  roomPollMs,
  roomWaitMsMax,
  smallRoomWaitMsMax,
} from "./limits.ts";
import { readOtherCache } from "./local-copy.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { SegmentReader } from "./segment-reader.ts";
import type { UnitPlaces } from "./unit-places.ts";

export interface LiveFileOptions {
  places: UnitPlaces;
  local: LocalCache;
  reader: SegmentReader;
  eviction: Eviction;
  punchHole: PunchHole;
  readOnly: boolean;
  /** As `VolumeOptions.otherCacheDirectory`. */
  otherCacheDirectory?: string | undefined;
  /** Makes what was written durable, as far as the volume promises; absent: on this machine. */
  flush?: () => Promise<void>;
}

/** When a sync is answered: once this machine's disk has everything, or once the bucket has. */
export type FlushMode = "local" | "durable";

export class LiveFile implements BlockFile {
  readonly sizeBytes: number;
  readonly isWritable: boolean;
  readonly #cache: BlockCache;
  readonly #options: LiveFileOptions;
  /** Units being fetched, so that nobody fetches one twice at a time. */
  readonly #fetching = new Map<number, Promise<void>>();
  readonly #ahead: ReadAhead;
  readonly #places: UnitPlaces;
  #becameLocal = Promise.withResolvers<void>();

  constructor(options: LiveFileOptions) {
    this.#options = options;
    this.#cache = options.local.cache;
    this.sizeBytes = this.#cache.sizeBytes;
    this.isWritable = !options.readOnly;
    this.#places = options.places;
    const cacheUnits = Math.floor(options.eviction.sizeBytesMax / unitSizeBytes);
    this.#ahead = new ReadAhead({
      unitCount: this.#cache.state.unitCount,
      // Several readers, each with its window, must not drive out what none has read yet.
      windowUnitsMax: Math.floor(cacheUnits / 16),
      isMissing: (unit) => !this.#fetching.has(unit) && this.#cache.missingBlocks(unit) !== 0,
      fetch: (units) => this.fetchUnits(units),
      markUnit: (unit) => this.#cache.markAhead(unit),
    });
  }

  /** Says what `flush` waits for, so that the fast lane does not answer too early. Counts from now on. */
  set flushMode(mode: FlushMode) {
    this.#cache.state.control[control.durableSync] = mode === "durable" ? 1 : 0;
    if (mode === "durable") return;
    this.#becameLocal.resolve();
    this.#becameLocal = Promise.withResolvers<void>();
  }

  /** The first units that were read since the cache was opened, in order: what a boot needs. */
  recordedBoot(): Uint32Array {
    const { bootUnits, control: words } = this.#cache.state;
    return Uint32Array.from(bootUnits.subarray(0, words[control.bootUnits]));
  }

  /** Fetches these units when there is nothing better to do, as after a cold open; settles when done. */
  prefetch(units: readonly number[]): Promise<void> {
    return this.#ahead.prefetch(units);
  }

  /** Fetches nothing any more that nobody waits for. */
  stop(): void {
    this.#ahead.stop();
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(lengthBytes);
    const first = Math.floor(offsetBytes / unitSizeBytes);
    const end = Math.ceil((offsetBytes + lengthBytes) / unitSizeBytes);
    if (this.#cache.takeAhead(first, end)) {
      this.#options.eviction.run();
      this.#ahead.onRead(first, end);
    }
    for (let attempt = 0; attempt < readAttemptsMax; attempt++) {
      if (this.#cache.tryRead(offsetBytes, lengthBytes, bytes, 0)) return bytes;
      try {
        await this.#fetchFor(offsetBytes, lengthBytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        if (await this.#readPastCache(offsetBytes, bytes)) return bytes;
      }
    }
    throw new SpriteError("storage_failure", "the cache is too small for one read");
  }

  /** Reads what a full disk cannot keep. False when the map has changed meanwhile. */
  async #readPastCache(offsetBytes: number, into: Uint8Array): Promise<boolean> {
    const first = Math.floor(offsetBytes / unitSizeBytes);
    const end = Math.ceil((offsetBytes + into.length) / unitSizeBytes);
    const units = range(first, end);
    const layouts = await this.#places.locate(units);
    const stored = await this.#options.reader.readUnits(layouts.filter((each) => each !== null));
    const whole = new Uint8Array(units.length * unitSizeBytes);
    const current = this.#places.areCurrent(units, layouts);
    for (const [index, unit] of units.entries()) {
      const layout = layouts[index] ?? null;
      if (current[index] !== true) return false;
      const content = whole.subarray(index * unitSizeBytes, (index + 1) * unitSizeBytes);
      if (layout !== null) content.set(must(stored.get(layout), "every unit was read"));
      this.#cache.overlay(unit, content);
    }
    const start = offsetBytes - first * unitSizeBytes;
    into.set(whole.subarray(start, start + into.length));
    return true;
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await this.#slowWriter();
    if (offsetBytes % blockSizeBytes === 0 && bytes.length % blockSizeBytes === 0) {
      await this.#awaitingRoom(bytes.length, () => {
        this.#refuseLarge(offsetBytes, bytes.length);
        this.#cache.write(offsetBytes, bytes, 0, bytes.length);
      });
      return;
    }
    const write = (): boolean => this.#cache.tryWriteUnaligned(offsetBytes, bytes);
    for (let attempt = 0; attempt < readAttemptsMax; attempt++) {
      if (await this.#awaitingRoom(bytes.length, write)) return;
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
    await this.#awaitingRoom(0, () => {
      this.#cache.punch(first, last - first, this.#options.punchHole);
    });
  }

  async flush(): Promise<void> {
    const { local, flush } = this.#options;
    if (flush === undefined) return local.flush();
    const isDurable = this.#cache.state.control[control.durableSync] !== 0;
    if (!isDurable) return flush();
    // Whoever waits for a bucket that is away is let go when less is asked for.
    await Promise.race([flush(), this.#becameLocal.promise.then(() => local.flush())]);
  }

  /** Units whose content is on its way already: whoever reads one of them waits for that. */
  expect(expected: {
    units: readonly number[];
    layouts: ReadonlyMap<number, UnitLayout | null>;
    contents: Promise<Map<UnitLayout, Uint8Array>>;
  }): void {
    const { units, contents } = expected;
    const layouts = units.map((unit) => expected.layouts.get(unit) ?? null);
    const arrival = contents
      .then((found) => this.#store(units, layouts, found))
      // Whoever waits asks again, and hears of what happens then.
      .catch(() => undefined)
      .finally(() => {
        for (const unit of units) this.#fetching.delete(unit);
      });
    for (const unit of units) this.#fetching.set(unit, arrival);
  }

  /** Brings units into the cache. */
  async fetchUnits(units: readonly number[]): Promise<void> {
    const waits = new Set<Promise<void>>();
    const wanted: number[] = [];
    for (const unit of units) {
      const running = this.#fetching.get(unit);
      if (running !== undefined) waits.add(running);
      else if (this.#cache.missingBlocks(unit) !== 0) wanted.push(unit);
    }
    for (let from = 0; from < wanted.length; from += fetchUnitsMax) {
      const group = wanted.slice(from, from + fetchUnitsMax);
      const fetch = this.#fetchNow(group).finally(() => {
        for (const unit of group) this.#fetching.delete(unit);
      });
      for (const unit of group) this.#fetching.set(unit, fetch);
      waits.add(fetch);
    }
    await Promise.all(waits);
  }

  async #fetchNow(units: readonly number[]): Promise<void> {
    const { reader, otherCacheDirectory: other } = this.#options;
    const places = this.#places;
    const layouts = await places.locate(units);
    const near = other === undefined ? null : readOtherCache(other, units, layouts);
    const stored = layouts.filter((layout) => layout !== null);
    const far = near === null ? stored : stored.filter((layout) => !near.has(layout));
    try {
      await reader.useUnits(far, (contents) => {
        this.#store(units, layouts, near === null ? contents : new Map([...near, ...contents]));
      });
    } catch (error) {
      // What the map has stopped naming may be gone from the bucket: the reader asks again.
      if (places.areCurrent(units, layouts).every(Boolean)) throw error;
    }
  }

  #store(
    units: readonly number[],
    layouts: readonly (UnitLayout | null)[],
    contents: ReadonlyMap<UnitLayout, Uint8Array>,
  ): void {
    const current = this.#places.areCurrent(units, layouts);
    for (const [index, unit] of units.entries()) {
      const layout = layouts[index] ?? null;
      // The guest may have overwritten the unit, a cut may have stored that, and eviction may have
      // dropped it again while the old content was on its way: it must not be taken for the new
      // one. The reader asks again.
      if (current[index] !== true) continue;
      if (layout === null) {
        this.#options.local.learnUnmapped(unit);
        continue;
      }
      const content = contents.get(layout);
      assert(content !== undefined, "every unit was read");
      const check = wholeSliceOf(layout)?.check;
      this.#makingRoom(() => this.#cache.fill(unit, content, check));
    }
  }

  async #fetchFor(offsetBytes: number, lengthBytes: number): Promise<void> {
    const first = Math.floor(offsetBytes / unitSizeBytes);
    const end = Math.ceil((offsetBytes + lengthBytes) / unitSizeBytes);
    // Before, not after: what is fetched for a read must still be here when it is read.
    this.#options.eviction.run();
    const fetched = this.fetchUnits(range(first, end));
    this.#ahead.onRead(first, end);
    await fetched;
  }

  /** While the disk fills up, one write after the other waits a little, and looks how it stands. */
  async #slowWriter(): Promise<void> {
    const words = this.#cache.state.control;
    const delayMs = words[control.writeDelayMs] as number;
    if (delayMs > 0) await delay(delayMs);
    if (delayMs > 0 || words[control.diskLow] !== diskLow.no) this.#options.eviction.run();
  }

  /** Keeps the last of the space for small writes. */
  #refuseLarge(offsetBytes: number, lengthBytes: number): void {
    const words = this.#cache.state.control;
    if (lengthBytes <= smallWriteBytesMax || words[control.diskLow] !== diskLow.now) return;
    if (this.#cache.isOverwrite(offsetBytes, lengthBytes)) return;
    this.#options.eviction.measure();
    if (words[control.diskLow] === diskLow.now) throw diskFullError();
  }

  /** When the local disk stays full, waits for the cut that empties it; the guest hears of it if none does. */
  async #awaitingRoom<T>(sizeBytes: number, work: () => T): Promise<T> {
    const isSmall = sizeBytes <= smallWriteBytesMax;
    const deadlineMs = performance.now() + (isSmall ? smallRoomWaitMsMax : roomWaitMsMax);
    for (;;) {
      try {
        return this.#makingRoom(work);
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === "ENOSPC";
        if (!isFull || performance.now() > deadlineMs) throw error;
      }
      await delay(roomPollMs);
    }
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
