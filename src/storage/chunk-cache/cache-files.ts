/**
 * Opens the files of a cache directory: what an earlier process left, as far as its log proves it, or empty
 * ones. Files that cannot be believed are set aside.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import { syncDirectoryNow } from "../local-files.ts";
import type { CacheFiles } from "./block-cache.ts";
import { runEnd } from "./block-masks.ts";
import { orphansMax } from "./limits.ts";
import { areaStartUnits, type AreaIndex, findLog, type FoundLog } from "./log-area.ts";
import type { PunchHole } from "./punch-hole.ts";
import { replayLog } from "./replay.ts";
import {
  decodeHeader,
  headerSizeBytes,
  type LogHeader,
  type LogPlace,
  type SyncData,
} from "./residency-log.ts";
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
  /** In the place of fdatasync. */
  syncData?: SyncData;
}

export const blocksName = "blocks";
const asideName = "aside";
/** The log's own file, in the formats before: still read, then replaced. */
export const oldLogName = "residency.log";

export interface OpenedFiles extends CacheFiles {
  state: SharedState;
  distrust: string | null;
  /** Where the log was found, and its generation; null and 0 when none was found in the cache file. */
  area: AreaIndex | null;
  generation: number;
}

export function openFiles(options: LocalCacheOptions): OpenedFiles {
  const { directory } = options;
  rmSync(join(directory, `${oldLogName}.new`), { force: true });
  const warm = openWarm(options);
  if (typeof warm !== "string") return warm;
  let distrust: string | null = null;
  if (hasContent(join(directory, blocksName)) || existsSync(join(directory, oldLogName))) {
    distrust = warm;
    setAside(directory, [blocksName, oldLogName], options.nowMs());
  }
  rmSync(join(directory, blocksName), { force: true });
  const blocks = openSync(join(directory, blocksName), "w+");
  // What is synced in a file whose name the disk does not have is not there after a power failure.
  syncDirectoryNow(directory);
  ftruncateSync(blocks, options.sizeBytes);
  const state = freshState(options);
  return { blocks, aside: openAside(options), state, distrust, area: null, generation: 0 };
}

/** A cache file that was just made, and has no log yet, is all hole. */
function hasContent(path: string): boolean {
  return existsSync(path) && statSync(path).blocks > 0;
}

/** Opens what an earlier process left, or says why it cannot be believed. */
function openWarm(options: LocalCacheOptions): OpenedFiles | string {
  const blocksPath = join(options.directory, blocksName);
  if (options.forEachMapped === null) return "the map is not here yet";
  if (!existsSync(blocksPath)) return "there is no cache file";
  const blocks = openSync(blocksPath, "r+");
  const found = findLog(blocks, options.sizeBytes / unitSizeBytes);
  const state = found === null ? replayOld(options, blocks) : replayFound(options, found, blocks);
  if (typeof state === "string") {
    closeSync(blocks);
    return state;
  }
  const place = { area: found?.area ?? null, generation: found?.header.generation ?? 0 };
  return { blocks, aside: openAside(options), state, distrust: null, ...place };
}

function replayFound(
  options: LocalCacheOptions,
  { area, header }: FoundLog,
  blocks: number,
): SharedState | string {
  const atBytes = areaStartUnits(header.unitCount, area) * unitSizeBytes;
  const place = { descriptor: blocks, atBytes, generation: header.generation };
  return replayFiles(options, { header, place }, blocks);
}

/** A log in a file of its own, as an earlier version left it. */
function replayOld(options: LocalCacheOptions, blocks: number): SharedState | string {
  const path = join(options.directory, oldLogName);
  if (!existsSync(path)) return "there is no residency log";
  const log = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(headerSizeBytes);
    const read = readSync(log, bytes, 0, headerSizeBytes, 0);
    const header = decodeHeader(bytes.subarray(0, read));
    if (header === null) return "the residency log's header is damaged";
    const place = { descriptor: log, atBytes: 0, generation: header.generation };
    return replayFiles(options, { header, place }, blocks);
  } finally {
    closeSync(log);
  }
}

function replayFiles(
  options: LocalCacheOptions,
  { header, place }: { header: LogHeader; place: LogPlace },
  blocks: number,
): SharedState | string {
  const expected = headerFor(options, blocks);
  if (header.volumeId !== expected.volumeId) return "the residency log is of another volume";
  if (header.unitCount !== expected.unitCount) return "the residency log is of another size";
  if (header.blocksInode !== expected.blocksInode) return "the cache file was replaced";
  if (fstatSync(blocks).size < options.sizeBytes) return "the cache file has another size";
  const state = freshState(options);
  state.control[control.foundFile] = 1;
  const sameBoot = header.bootId === options.bootId;
  const outcome = replayLog(place, state, { sameBoot, lastCut: options.lastCut });
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

export function headerFor(options: LocalCacheOptions, blocks: number, generation = 0): LogHeader {
  return {
    bootId: options.bootId,
    volumeId: options.volumeId,
    unitCount: options.sizeBytes / unitSizeBytes,
    blocksInode: fstatSync(blocks).ino,
    generation,
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
  // The one that was just made stays, also when a clock that was set back makes it look like the oldest.
  const isOther = (name: string): boolean =>
    name.startsWith(orphanPrefix) && join(directory, name) !== orphan;
  const others = readdirSync(directory).filter((name) => isOther(name));
  for (const name of others.toSorted().slice(0, Math.max(0, others.length - (orphansMax - 1)))) {
    rmSync(join(directory, name), { recursive: true, force: true });
  }
  return orphan;
}
