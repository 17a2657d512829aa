/**
 * The cache directory of one volume: `blocks` (sparse, the log behind them) and `aside`. Makes them durable,
 * and keeps the log short. The slow lane owns it.
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  mkdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { assert } from "../../base/assert.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { syncDirectoryNow } from "../local-files.ts";
import { BlockCache, type CacheFiles } from "./block-cache.ts";
import {
  headerFor,
  type LocalCacheOptions,
  oldLogName,
  type OpenedFiles,
  openFiles,
} from "./cache-files.ts";
import { CacheSync } from "./cache-sync.ts";
import { diskLow } from "./disk-space.ts";
import {
  checkAllMsMax,
  evictionScanUnits,
  logRecordsMax,
  logReserveRecords,
  reserveSizeBytes,
} from "./limits.ts";
import { areaRecordsMax, areaSizeBytes, areaStartUnits, type AreaIndex } from "./log-area.ts";
import type { PunchHole } from "./punch-hole.ts";
import {
  checkRecord,
  type LogHeader,
  recordType,
  type SyncData,
  writeWholeLog,
} from "./residency-log.ts";
import { Scrub } from "./scrub.ts";
import { control, unitFlag } from "./shared-state.ts";

const reserveName = "reserve";

export class LocalCache {
  readonly cache: BlockCache;
  readonly scrub: Scrub;
  readonly #sync: CacheSync;
  /** Why the files that were found were set aside; null when they were not. */
  readonly distrust: string | null;
  readonly #directory: string;
  readonly #header: LogHeader;
  readonly #files: CacheFiles;
  readonly #punchHole: PunchHole;
  readonly #syncData: SyncData;
  #area: AreaIndex | null;
  #running: Promise<void> | null = null;
  #queued: Promise<void> | null = null;
  #failure: Error | null = null;
  #isSettled: boolean;

  private constructor(options: LocalCacheOptions, opened: OpenedFiles) {
    this.#directory = options.directory;
    this.#files = { blocks: opened.blocks, aside: opened.aside };
    this.distrust = opened.distrust;
    this.#isSettled = options.forEachMapped !== null;
    this.#header = headerFor(options, opened.blocks, opened.generation);
    this.cache = new BlockCache(opened.state, this.#files, "slow");
    this.scrub = new Scrub(this.cache);
    this.#sync = new CacheSync(this.cache);
    this.#punchHole = options.punchHole;
    this.#syncData = options.syncData ?? fdatasyncSync;
    this.#area = opened.area;
    this.#verifyDirty();
    this.#replaceLog();
    if (existsSync(join(options.directory, oldLogName))) {
      rmSync(join(options.directory, oldLogName));
      syncDirectoryNow(options.directory);
    }
    if (!options.readOnly) this.restoreReserve();
  }

  static open(options: LocalCacheOptions): LocalCache {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    return new LocalCache(options, openFiles(options));
  }

  /** A cut reads dirty units without asking whether the rest of them is right. */
  #verifyDirty(): void {
    const { state } = this.cache;
    const count = state.control[control.dirtyUnits] as number;
    for (let i = 0; i < count; i++) this.cache.verify(state.dirtyList[i] as number);
  }

  /** Makes everything durable that was written before the call. Calls that come together share the syncs. */
  flush(): Promise<void> {
    return this.#exclusively(() => this.#flushNow());
  }

  /** Ends the aside file's content: the cut that needed it is over. */
  clearAside(): void {
    ftruncateSync(this.#files.aside, 0);
  }

  /** The map says that the unit is zeros. Means something only until the mapping is settled. */
  learnUnmapped(unit: number): void {
    if (this.#isSettled) return;
    // The file was made by this process, and what was not written is a hole.
    this.cache.locked(() => this.cache.state.setMapped(unit, false));
  }

  /**
   * The map is here, and says what it said before any cut. Guests may have written meanwhile, and go on reading and
   * writing while it is asked part by part.
   */
  async settleMapping(
    forEachMapped: (visit: (unit: number) => void, part: { first: number; end: number }) => void,
  ): Promise<void> {
    assert(!this.#isSettled, "the mapping is settled once");
    const { state } = this.cache;
    for (let first = 0; first < state.unitCount; first += evictionScanUnits) {
      const end = Math.min(first + evictionScanUnits, state.unitCount);
      const isMapped = new Uint8Array(end - first);
      forEachMapped((unit) => (isMapped[unit - first] = 1), { first, end });
      this.cache.locked(() => {
        for (let unit = first; unit < end; unit++) {
          if (isMapped[unit - first] === 0) state.setMapped(unit, false);
        }
      });
      await nextTurn();
    }
    this.#isSettled = true;
  }

  /** What space there is has a better use than staged segments. */
  get isFull(): boolean {
    const words = this.cache.state.control;
    return words[control.diskFull] !== 0 || words[control.diskLow] === diskLow.now;
  }

  /** The disk is full: gives the reserve to the cut that must be made, and holds the guest off from it. */
  releaseReserve(): void {
    this.cache.state.control[control.diskFull] = 1;
    truncateSync(this.#reservePath, 0);
  }

  /** Takes the reserve back; when the disk is still too full for it, the guest goes on being held off. */
  restoreReserve(): void {
    if (existsSync(this.#reservePath) && statSync(this.#reservePath).size === reserveSizeBytes)
      return;
    try {
      writeFileSync(this.#reservePath, Buffer.alloc(reserveSizeBytes));
      this.cache.state.control[control.diskFull] = 0;
    } catch (error) {
      truncateSync(this.#reservePath, 0);
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }

  get #reservePath(): string {
    return join(this.#directory, reserveName);
  }

  /** Rewrites the log when it has grown long. Not while a cut runs. */
  async compactIfLong(): Promise<void> {
    const { log, state } = this.cache;
    if (log.recordCount < Math.min(logRecordsMax, areaRecordsMax(state.unitCount) / 2)) return;
    await this.compact();
  }

  async compact(): Promise<void> {
    await this.flush();
    while (this.#running !== null) await this.#running;
    while (!this.#sync.begin()) await nextTurn();
    try {
      this.cache.locked(() => this.#replaceLog());
    } finally {
      this.#sync.end();
    }
  }

  /** Syncs, compacts and closes. The other lane must have ended. */
  async close(): Promise<void> {
    const now = (): number => performance.now();
    if (this.#failure === null) {
      this.scrub.checkAll(now() + checkAllMsMax, now);
      await this.compact();
    }
    this.abandon();
  }

  /** Closes without syncing, as a crash would. */
  abandon(): void {
    this.cache.isClosed = true;
    closeSync(this.#files.blocks);
    closeSync(this.#files.aside);
  }

  /** One run at a time; whoever comes while one runs shares the next. */
  #exclusively(work: () => Promise<void>): Promise<void> {
    if (this.#running === null) return this.#start(work);
    const running = this.#running;
    this.#queued ??= running
      .catch(() => undefined)
      .then(() => {
        this.#queued = null;
        return this.#start(work);
      });
    return this.#queued;
  }

  #start(work: () => Promise<void>): Promise<void> {
    const run = work().finally(() => {
      if (this.#running === run) this.#running = null;
    });
    this.#running = run;
    return run;
  }

  async #flushNow(): Promise<void> {
    // After a failed sync the kernel forgets what was not written: trying again would lie.
    if (this.#failure !== null) throw this.#failure;
    const sync = this.#sync;
    const words = this.cache.state.control;
    while (!sync.begin()) await nextTurn();
    try {
      if (words[control.syncFailed] !== 0) throw new Error("a sync in the fast lane failed");
      const point = sync.point();
      const isOrderFree = sync.isOrderFree(point);
      if (!isOrderFree) await syncData(this.#files.blocks);
      const flushedRecords = sync.markFlushed(point);
      await syncData(this.#files.blocks);
      sync.endFlush(point, flushedRecords);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") {
        this.#failure = error as Error;
        words[control.syncFailed] = 1;
      }
      throw error;
    } finally {
      sync.end();
    }
  }

  /**
   * Writes the log anew from memory into the other area; the last one's header goes, so that nothing old is
   * taken for the truth should the new one be damaged. Makes the blocks durable too. The lock is held.
   */
  #replaceLog(): void {
    const { state } = this.cache;
    const area = this.#area === 0 ? 1 : 0;
    const descriptor = this.#files.blocks;
    const startUnits = areaStartUnits(state.unitCount, area);
    const atBytes = startUnits * unitSizeBytes;
    const place = { descriptor, atBytes, syncData: this.#syncData };
    const generation = this.#header.generation + 1;
    this.#punchArea(area);
    const { records } = writeWholeLog(place, { ...this.#header, generation }, (emit) => {
      for (let unit = 0; unit < state.unitCount; unit++) {
        const mask = state.masks[unit] as number;
        if (mask === 0) continue;
        const dirty = state.dirty(unit) | ((state.cuts[unit] as number) & 0xffff);
        // A clean unit that the map does not have is zeros with or without a record.
        if (dirty === 0 && !state.isMapped(unit)) continue;
        emit({ type: recordType.unit, value: unit, valid: mask & 0xffff, dirty });
        const isChecked = ((state.cuts[unit] as number) & unitFlag.checked) !== 0;
        if (isChecked) emit(checkRecord(unit, state.checks[unit] as number));
      }
    });
    if (this.#area !== null) this.#punchArea(this.#area);
    this.#area = area;
    this.#header.generation = generation;
    state.control[control.logStartUnits] = startUnits;
    state.control[control.logGeneration] = generation;
    state.control[control.logRecords] = records;
    state.control[control.logReserved] = records;
    // The new log states just what is dirty.
    state.forgetLogged();
    state.control[control.flushedRecords] = records;
    this.cache.log.reserve(logReserveRecords);
  }

  #punchArea(area: AreaIndex): void {
    const { unitCount } = this.cache.state;
    const at = areaStartUnits(unitCount, area) * unitSizeBytes;
    this.#punchHole(this.#files.blocks, at, areaSizeBytes(unitCount));
  }
}

function syncData(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(descriptor, (error) => (error === null ? resolve() : reject(error)));
  });
}
