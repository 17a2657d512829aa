/**
 * What the residency log says of the cache file after its process ended.
 *
 * The process was killed: the page cache survived, every record counts. The machine rebooted: only
 * what was synced is on the disk, so records count up to the last flush marker. Either way clean
 * blocks stay valid only with a check, since anything may have happened to the file meanwhile; the
 * others come from the bucket again.
 */
import { readSync } from "node:fs";
import { allBlocks, logReadRecords } from "./limits.ts";
import {
  decodeRecord,
  logOffset,
  type LogPlace,
  type LogRecord,
  recordedCheck,
  recordSeed,
  recordSizeBytes,
  recordType,
} from "./residency-log.ts";
import { unitFlag, type SharedState } from "./shared-state.ts";

export type ReplayOutcome =
  | {
      kind: "replayed";
      records: number;
      /** Units with clean blocks that nothing vouches for: they are not believed. */
      droppedUnits: number;
    }
  /** Records are missing in the middle: nothing that follows from the log can be believed. */
  | { kind: "damaged"; reason: string };

export interface ReplayOptions {
  /** False after a reboot: the log then counts up to its last flush marker. */
  sameBoot: boolean;
  /** The newest cut that the local map has committed. */
  lastCut: number;
}

/** Sets valid and dirty of every unit. The state must be fresh, with its `mapped` flags set. */
export function replayLog(
  place: LogPlace,
  state: SharedState,
  options: ReplayOptions,
): ReplayOutcome {
  const extent = scan(place);
  let end = extent.goodRecords;
  if (options.sameBoot) {
    if (extent.hasRecordBehind) return { kind: "damaged", reason: "a record is damaged" };
  } else {
    // Pages of a log that was not synced reach the disk in any order, so a gap behind the last
    // flush means nothing.
    const covered = extent.flushed.findLast((count) => count <= extent.goodRecords);
    if (covered === undefined) return { kind: "damaged", reason: "no flush marker is left" };
    end = covered;
  }
  const replay = new Replay(state, options.lastCut);
  for (const record of readRecords(place, end)) {
    const problem = replay.apply(record);
    if (problem !== null) return { kind: "damaged", reason: problem };
  }
  const problem = replay.finish();
  return problem === null
    ? { kind: "replayed", records: end, droppedUnits: replay.droppedUnits }
    : { kind: "damaged", reason: problem };
}

class Replay {
  readonly #state: SharedState;
  readonly #lastCut: number;
  /** Units with blocks dirty since the last cut began, and units with blocks in that cut. */
  #dirtyUnits = new Set<number>();
  #cutUnits = new Set<number>();
  readonly #seen = new Set<number>();
  #cut: number | null = null;
  droppedUnits = 0;
  #isRestoring = false;

  constructor(state: SharedState, lastCut: number) {
    this.#state = state;
    this.#lastCut = lastCut;
  }

  apply(record: LogRecord): string | null {
    switch (record.type) {
      case recordType.unit:
        if (record.value >= this.#state.unitCount) return "a record names a unit that is not there";
        this.#state.masks[record.value] = record.valid | (record.dirty << 16);
        this.#clearFlag(record.value, unitFlag.checked);
        this.#seen.add(record.value);
        if (record.dirty !== 0) this.#dirtyUnits.add(record.value);
        break;
      case recordType.checked:
        if (record.value >= this.#state.unitCount) return "a record names a unit that is not there";
        this.#state.checks[record.value] = recordedCheck(record);
        this.#setFlag(record.value, unitFlag.checked);
        break;
      case recordType.cutBegun:
        // A cut that was taken back is begun again under its number; another number means that this
        // one was committed.
        if (this.#cut !== null && this.#cut !== record.value) this.#dropCut();
        this.#cut = record.value;
        for (const unit of this.#dirtyUnits) {
          this.#state.cuts[unit] = (this.#state.cuts[unit] as number) | this.#state.dirty(unit);
          this.#state.masks[unit] = (this.#state.masks[unit] as number) & allBlocks;
          this.#cutUnits.add(unit);
        }
        this.#dirtyUnits.clear();
        break;
      case recordType.cutCommitted:
        this.#dropCut();
        break;
      case recordType.restoreBegun:
        this.#isRestoring = true;
        break;
      case recordType.restoreDone:
        this.#isRestoring = false;
        break;
      default:
        break;
    }
    return null;
  }

  finish(): string | null {
    // The map may or may not have been restored. Nothing was dirty, so the bucket has it all.
    if (this.#isRestoring) return "a restore was interrupted";
    if (this.#cut !== null && this.#cut <= this.#lastCut) this.#dropCut();
    const state = this.#state;
    for (const unit of this.#seen) {
      const word = state.cuts[unit] as number;
      let valid = state.valid(unit);
      let dirty = state.dirty(unit) | (word & allBlocks);
      // Its other blocks are zeros, and made so if they are not.
      if ((word & unitFlag.mapped) === 0) valid = dirty === 0 ? 0 : allBlocks;
      // Dirty and not valid: the write was killed before it was done, and never acknowledged.
      dirty &= valid;
      // A clean block is believed if its unit's check says so, or not at all.
      const isChecked = dirty === 0 && (word & unitFlag.checked) !== 0;
      const isMapped = (word & unitFlag.mapped) !== 0;
      if (isMapped && !isChecked) {
        if (valid !== dirty) this.droppedUnits++;
        valid = dirty;
      }
      state.cuts[unit] = word & ~(allBlocks | (isChecked ? 0 : unitFlag.checked));
      // Through setMasks from clean, so that the dirty list is built.
      state.masks[unit] = 0;
      state.setMasks(unit, valid, dirty);
    }
    return null;
  }

  #setFlag(unit: number, flag: number): void {
    this.#state.cuts[unit] = (this.#state.cuts[unit] as number) | flag;
  }

  #clearFlag(unit: number, flag: number): void {
    this.#state.cuts[unit] = (this.#state.cuts[unit] as number) & ~flag;
  }

  #dropCut(): void {
    for (const unit of this.#cutUnits)
      this.#state.cuts[unit] = (this.#state.cuts[unit] as number) & ~allBlocks;
    this.#cutUnits.clear();
    this.#cut = null;
  }
}

interface LogExtent {
  /** Records before the first that cannot be read. */
  goodRecords: number;
  /** A readable record behind an unreadable one. */
  hasRecordBehind: boolean;
  /** What the flush markers cover, in their order, those behind an unreadable record included. */
  flushed: number[];
}

function scan(place: LogPlace): LogExtent {
  const extent: LogExtent = { goodRecords: 0, hasRecordBehind: false, flushed: [] };
  let isBroken = false;
  forEachSlot(place, (record) => {
    if (record === null) {
      isBroken = true;
      return;
    }
    if (isBroken) extent.hasRecordBehind = true;
    else extent.goodRecords++;
    if (record.type === recordType.flushed) extent.flushed.push(record.value);
  });
  return extent;
}

function* readRecords(place: LogPlace, count: number): Generator<LogRecord> {
  const { descriptor, atBytes, generation } = place;
  const buffer = Buffer.alloc(logReadRecords * recordSizeBytes);
  for (let first = 0; first < count; first += logReadRecords) {
    const read = readSync(descriptor, buffer, 0, buffer.length, atBytes + logOffset(first));
    const slots = Math.min(count - first, Math.floor(read / recordSizeBytes));
    for (let i = 0; i < slots; i++) {
      const seed = recordSeed(generation, first + i);
      const record = decodeRecord(buffer, i * recordSizeBytes, seed);
      if (record !== null) yield record;
    }
  }
}

/** Ends at the file's end, or behind a piece of nothing but zeros: the log's reserve ends in one, or in a hole. */
function forEachSlot(place: LogPlace, visit: (record: LogRecord | null) => void): void {
  const { descriptor, atBytes, generation } = place;
  const buffer = Buffer.alloc(logReadRecords * recordSizeBytes);
  const zeros = Buffer.alloc(buffer.length);
  for (let first = 0; ; first += logReadRecords) {
    const read = readSync(descriptor, buffer, 0, buffer.length, atBytes + logOffset(first));
    const slots = Math.floor(read / recordSizeBytes);
    for (let i = 0; i < slots; i++) {
      visit(decodeRecord(buffer, i * recordSizeBytes, recordSeed(generation, first + i)));
    }
    if (slots < logReadRecords || buffer.equals(zeros)) return;
  }
}
