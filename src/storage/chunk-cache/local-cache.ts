/**
 * The cache directory of one volume: `blocks` (sparse), `aside`, `residency.log`. Opens them,
 * believes them as far as the log proves them, makes them durable, and keeps the log short. The
 * slow lane owns it.
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { assert } from "../../base/assert.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import { syncDirectoryNow } from "../local-files.ts";
import { BlockCache, type CacheFiles } from "./block-cache.ts";
import { runEnd } from "./block-masks.ts";
import {
  checkAllMsMax,
  evictionScanUnits,
  logRecordsMax,
  logReserveRecords,
  orphansMax,
  reserveSizeBytes,
} from "./limits.ts";
import { CacheSync } from "./cache-sync.ts";
import { diskLow } from "./disk-space.ts";
import type { PunchHole } from "./punch-hole.ts";
import { replayLog } from "./replay.ts";
import {
  checkRecord,
  decodeHeader,
  headerSizeBytes,
  type LogHeader,
  recordType,
  writeWholeLog,
} from "./residency-log.ts";
import { Scrub } from "./scrub.ts";
import { control, SharedState, unitFlag } from "./shared-state.ts";

export interface LocalCacheOptions {
  directory: string;
  sizeBytes: number;
  volumeId: string;
  /** Of the running kernel. */
  bootId: string;
  readOnly: boolean;
  /** The newest cut in the local map. */
  lastCut: number;
  /**
   * Calls back with every unit that the map has. Null while the map is not here yet: every unit may be in
   * it then, and an earlier process's files cannot be used; `settleMapping` follows.
   */
  forEachMapped: ((visit: (unit: number) => void) => void) | null;
  punchHole: PunchHole;
  nowMs: () => number;
}

const blocksName = "blocks";
const asideName = "aside";
const logName = "residency.log";
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
  #logDescriptor: number;
  #running: Promise<void> | null = null;
  #queued: Promise<void> | null = null;
  #failure: Error | null = null;
  #isSettled: boolean;

  private constructor(options: LocalCacheOptions, opened: OpenedFiles) {
    this.#directory = options.directory;
    this.#files = { blocks: opened.blocks, aside: opened.aside };
    this.distrust = opened.distrust;
    this.#isSettled = options.forEachMapped !== null;
    this.#header = headerFor(options, opened.blocks);
    this.cache = new BlockCache(opened.state, this.#files, "slow");
    this.scrub = new Scrub(this.cache);
    this.#sync = new CacheSync(this.cache);
    this.#logDescriptor = -1;
    this.#verifyDirty();
    fdatasyncSync(opened.blocks);
    this.#replaceLog();
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
    if (this.cache.log.recordCount < logRecordsMax) return;
    await this.compact();
  }

  async compact(): Promise<void> {
    await this.flush();
    while (this.#running !== null) await this.#running;
    while (!this.#sync.begin()) await nextTurn();
    try {
      this.cache.locked(() => {
        fdatasyncSync(this.#files.blocks);
        this.#replaceLog();
      });
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
    for (const descriptor of [this.#files.blocks, this.#files.aside, this.#logDescriptor]) {
      closeSync(descriptor);
    }
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
      if (point.records === words[control.flushedRecords]) {
        await syncData(this.#files.blocks);
        return;
      }
      // A record that calls blocks dirty may reach the disk before their bytes: they were valid
      // before, so a crash leaves them old or new. One that calls blocks valid may not.
      const isOrderFree = point.gains === words[control.flushedGains];
      if (!isOrderFree) await syncData(this.#files.blocks);
      const isLast = sync.markFlushed(point);
      const syncs = [syncData(this.#logDescriptor)];
      if (isOrderFree) syncs.push(syncData(this.#files.blocks));
      await Promise.all(syncs);
      sync.endFlush(point, isLast);
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
   * Writes the log anew from memory and puts it in the old one's place. The blocks are synced; the
   * lock is held.
   */
  #replaceLog(): void {
    const { state } = this.cache;
    const path = join(this.#directory, logName);
    // It may have been deleted under us.
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const descriptor = openSync(`${path}.new`, "w+");
    const { records } = writeWholeLog(descriptor, this.#header, (emit) => {
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
    renameSync(`${path}.new`, path);
    syncDirectoryNow(this.#directory);
    if (this.#logDescriptor >= 0) closeSync(this.#logDescriptor);
    this.#logDescriptor = descriptor;
    state.control[control.logDescriptor] = descriptor;
    state.control[control.logRecords] = records;
    state.control[control.logReserved] = records;
    // The new log states just what is dirty.
    state.forgetLogged();
    state.control[control.flushedRecords] = records;
    this.cache.log.reserve(logReserveRecords);
  }
}

interface OpenedFiles extends CacheFiles {
  state: SharedState;
  distrust: string | null;
}

function openFiles(options: LocalCacheOptions): OpenedFiles {
  const { directory } = options;
  rmSync(join(directory, `${logName}.new`), { force: true });
  const warm = openWarm(options);
  if (typeof warm !== "string") return warm;
  let distrust: string | null = null;
  if (existsSync(join(directory, logName))) {
    distrust = warm;
    setAside(directory, [blocksName, logName], options.nowMs());
  }
  rmSync(join(directory, blocksName), { force: true });
  const blocks = openSync(join(directory, blocksName), "w+");
  ftruncateSync(blocks, options.sizeBytes);
  return { blocks, aside: openAside(options), state: freshState(options), distrust };
}

/** Opens what an earlier process left, or says why it cannot be believed. */
function openWarm(options: LocalCacheOptions): OpenedFiles | string {
  const blocksPath = join(options.directory, blocksName);
  const logPath = join(options.directory, logName);
  if (options.forEachMapped === null) return "the map is not here yet";
  if (!existsSync(logPath)) return "there is no residency log";
  if (!existsSync(blocksPath)) return "there is no cache file";
  const log = openSync(logPath, "r");
  const blocks = openSync(blocksPath, "r+");
  const outcome = replayFiles(options, log, blocks);
  closeSync(log);
  if (typeof outcome === "string") {
    closeSync(blocks);
    return outcome;
  }
  return { blocks, aside: openAside(options), state: outcome, distrust: null };
}

function replayFiles(
  options: LocalCacheOptions,
  log: number,
  blocks: number,
): SharedState | string {
  const bytes = Buffer.alloc(headerSizeBytes);
  const read = readSync(log, bytes, 0, headerSizeBytes, 0);
  const header = decodeHeader(bytes.subarray(0, read));
  if (header === null) return "the residency log's header is damaged";
  const expected = headerFor(options, blocks);
  if (header.volumeId !== expected.volumeId) return "the residency log is of another volume";
  if (header.unitCount !== expected.unitCount) return "the residency log is of another size";
  if (header.blocksInode !== expected.blocksInode) return "the cache file was replaced";
  if (fstatSync(blocks).size !== options.sizeBytes) return "the cache file has another size";
  const state = freshState(options);
  state.control[control.foundFile] = 1;
  const sameBoot = header.bootId === options.bootId;
  const outcome = replayLog(log, state, { sameBoot, lastCut: options.lastCut });
  if (outcome.kind === "damaged") return outcome.reason;
  if (!sameBoot || outcome.droppedUnits > 0) punchAllButValid(state, blocks, options.punchHole);
  return state;
}

/** What no record vouches for takes space for nothing. */
function punchAllButValid(state: SharedState, blocks: number, punchHole: PunchHole): void {
  let kept = 0;
  const keep = (start: number, end: number): void => {
    if (start > kept) punchHole(blocks, kept, start - kept);
    kept = end;
  };
  for (let unit = 0; unit < state.unitCount; unit++) {
    const valid = state.valid(unit);
    for (let block = 0; valid !== 0 && block < blocksPerUnit;) {
      const end = runEnd(valid, block);
      const at = unit * unitSizeBytes;
      if (end > block) keep(at + block * blockSizeBytes, at + end * blockSizeBytes);
      block = end > block ? end : block + 1;
    }
  }
  keep(state.unitCount * unitSizeBytes, 0);
}

function freshState(options: LocalCacheOptions): SharedState {
  const state = SharedState.allocate(options.sizeBytes);
  if (options.forEachMapped === null) state.cuts.fill(unitFlag.mapped);
  else options.forEachMapped((unit) => state.setMapped(unit, true));
  return state;
}

function openAside(options: LocalCacheOptions): number {
  return openSync(join(options.directory, asideName), "w+");
}

function headerFor(options: LocalCacheOptions, blocks: number): LogHeader {
  return {
    bootId: options.bootId,
    volumeId: options.volumeId,
    unitCount: options.sizeBytes / unitSizeBytes,
    blocksInode: fstatSync(blocks).ino,
  };
}

const orphanPrefix = "orphan-";

/**
 * Moves files that cannot be trusted to `orphan-<time>`, where a person can look at them; the
 * oldest are deleted.
 */
export function setAside(directory: string, names: readonly string[], nowMs: number): string {
  const orphan = join(
    directory,
    `${orphanPrefix}${new Date(nowMs).toISOString().replaceAll(":", "")}`,
  );
  mkdirSync(orphan, { recursive: true });
  for (const name of names) {
    const path = join(directory, name);
    if (existsSync(path)) renameSync(path, join(orphan, name));
  }
  const orphans = readdirSync(directory).filter((name) => name.startsWith(orphanPrefix));
  for (const name of orphans.toSorted().slice(0, -orphansMax)) {
    rmSync(join(directory, name), { recursive: true, force: true });
  }
  return orphan;
}

function syncData(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(descriptor, (error) => (error === null ? resolve() : reject(error)));
  });
}
