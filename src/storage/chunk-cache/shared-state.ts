/**
 * What both lanes know of every unit: shared memory, touched only where units are used, so that a
 * 100 GB volume costs memory by what it holds. All of it is read and written under the image lock.
 */
import { assert } from "../../base/assert.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { countBits } from "./block-masks.ts";
import { bootUnitsMax } from "./limits.ts";

/** The buffers, as they travel to another thread. */
export interface SharedBuffers {
  unitCount: number;
  control: SharedArrayBuffer;
  masks: SharedArrayBuffer;
  cuts: SharedArrayBuffer;
  asideValid: SharedArrayBuffer;
  dirtyList: SharedArrayBuffer;
  loggedDirty: SharedArrayBuffer;
  checks: SharedArrayBuffer;
  bootUnits: SharedArrayBuffer;
}

/** Words of `control`. */
export const control = {
  lockState: 0,
  lockWaiters: 1,
  /** Entries of the dirty list. */
  dirtyUnits: 2,
  dirtyBlocks: 3,
  /** Where the residency log begins in the cache file, in units. */
  logStartUnits: 4,
  /** Records in the residency log. */
  logRecords: 5,
  /** Records that the zero-filled part of the log has room for. */
  logReserved: 6,
  /** Not 0 between a cut's begin and its end. */
  cutRunning: 7,
  /**
   * Counts the times that blocks of a mapped unit became valid: their bytes must be synced before a
   * record says so.
   */
  validGains: 8,
  /** Not 0 while the disk is full: the guest may then only write where it has written since the last cut. */
  diskFull: 9,
  /** Records whose statement is on the disk. */
  flushedRecords: 10,
  /** Value of `validGains` up to which the blocks were synced. */
  flushedGains: 11,
  /**
   * Not 0 while a lane syncs. One at a time: the kernel tells of a failure once, and whoever hears
   * of it must be the one who answers.
   */
  syncRunning: 12,
  /** Not 0 after a failed sync: the kernel has forgotten what was not written, so no later one counts. */
  syncFailed: 13,
  /** Not 0 when an earlier process left the cache file: its units are verified at their first touch. */
  foundFile: 14,
  /** Not 0 while a sync is answered only once the bucket has everything: the fast lane leaves it alone. */
  durableSync: 15,
  /** Entries of `bootUnits`. */
  bootUnits: 16,
  /** How long a write waits: not 0 while the disk fills up faster than the bucket takes it. */
  writeDelayMs: 17,
  /** How near the disk is to being full (disk-space.ts). */
  diskLow: 18,
  /** The residency log's generation. */
  logGeneration: 19,
  wordCount: 20,
} as const;

/** Bits of a word of `cuts` above the 16 bits that say which blocks belong to the running cut. */
export const unitFlag = {
  /** The map has a slice for the unit: blocks that are not valid must be fetched. Else they are zeros. */
  mapped: 1 << 16,
  /** Since the last cut the whole unit was trimmed and not written after. */
  zeroed: 1 << 17,
  /** The same, for the running cut. */
  cutZeroed: 1 << 18,
  /** The running cut's content is in the aside file. */
  preserved: 1 << 19,
  /** The running cut's content was read; writers need not preserve it any more. */
  captured: 1 << 20,
  /** Read since the eviction hand passed. */
  referenced: 1 << 21,
  /** On the dirty list. */
  listed: 1 << 22,
  /** What the cache file has of it is believed. */
  verified: 1 << 23,
  /** Its check is known, and of the blocks that are valid now. */
  checked: 1 << 24,
  /** Read since the cache was opened. */
  read: 1 << 25,
  /** In the middle of what is being read ahead: the slow lane wants to hear of whoever gets here. */
  ahead: 1 << 26,
} as const;

export const cutFlags = unitFlag.cutZeroed | unitFlag.preserved | unitFlag.captured;

export class SharedState {
  readonly buffers: SharedBuffers;
  readonly unitCount: number;
  readonly control: Int32Array;
  /** valid | dirty << 16. */
  readonly masks: Int32Array;
  /** Blocks of the running cut | flags. */
  readonly cuts: Int32Array;
  /** Which blocks of a preserved unit the aside file holds. */
  readonly asideValid: Uint16Array;
  /** Units that got dirty since the last cut, each once. */
  readonly dirtyList: Int32Array;
  /**
   * What the log says is dirty since the last cut: as much as is, or more. A write inside of it
   * needs no record.
   */
  readonly loggedDirty: Uint16Array;
  /** CRC-32 of a unit's valid blocks, for units that are `checked`. */
  readonly checks: Uint32Array;
  /** The first units of the map that were read, in order. */
  readonly bootUnits: Int32Array;

  constructor(buffers: SharedBuffers) {
    this.buffers = buffers;
    this.unitCount = buffers.unitCount;
    this.control = new Int32Array(buffers.control);
    this.masks = new Int32Array(buffers.masks);
    this.cuts = new Int32Array(buffers.cuts);
    this.asideValid = new Uint16Array(buffers.asideValid);
    this.dirtyList = new Int32Array(buffers.dirtyList);
    this.loggedDirty = new Uint16Array(buffers.loggedDirty);
    this.checks = new Uint32Array(buffers.checks);
    this.bootUnits = new Int32Array(buffers.bootUnits);
  }

  static allocate(sizeBytes: number): SharedState {
    assert(sizeBytes > 0 && sizeBytes % unitSizeBytes === 0, "a volume is whole units");
    const unitCount = sizeBytes / unitSizeBytes;
    return new SharedState({
      unitCount,
      control: new SharedArrayBuffer(control.wordCount * 4),
      masks: new SharedArrayBuffer(unitCount * 4),
      cuts: new SharedArrayBuffer(unitCount * 4),
      asideValid: new SharedArrayBuffer(unitCount * 2),
      dirtyList: new SharedArrayBuffer(unitCount * 4),
      loggedDirty: new SharedArrayBuffer(unitCount * 2),
      checks: new SharedArrayBuffer(unitCount * 4),
      bootUnits: new SharedArrayBuffer(bootUnitsMax * 4),
    });
  }

  valid(unit: number): number {
    return (this.masks[unit] as number) & 0xffff;
  }

  dirty(unit: number): number {
    return (this.masks[unit] as number) >>> 16;
  }

  /** Sets both masks, keeping the dirty list and the count of dirty blocks right. */
  setMasks(unit: number, valid: number, dirty: number): void {
    const before = (this.masks[unit] as number) >>> 16;
    this.masks[unit] = valid | (dirty << 16);
    if (dirty === 0) this.loggedDirty[unit] = 0;
    if (before === dirty) return;
    this.control[control.dirtyBlocks] =
      (this.control[control.dirtyBlocks] as number) + (countBits(dirty) - countBits(before));
    if (dirty !== 0 && ((this.cuts[unit] as number) & unitFlag.listed) === 0) {
      this.cuts[unit] = (this.cuts[unit] as number) | unitFlag.listed;
      const count = this.control[control.dirtyUnits] as number;
      this.dirtyList[count] = unit;
      this.control[control.dirtyUnits] = count + 1;
    }
  }

  /** Forgets what the log says is dirty: the next write of a unit is logged again. */
  forgetLogged(): void {
    const count = this.control[control.dirtyUnits] as number;
    for (let i = 0; i < count; i++) this.loggedDirty[this.dirtyList[i] as number] = 0;
  }

  /** Marks the unit as read, and remembers it if it is one of the first. */
  noteRead(unit: number): void {
    const word = this.cuts[unit] as number;
    this.cuts[unit] = word | unitFlag.read | unitFlag.referenced;
    if ((word & unitFlag.read) !== 0 || (word & unitFlag.mapped) === 0) return;
    const count = this.control[control.bootUnits] as number;
    if (count >= bootUnitsMax) return;
    this.bootUnits[count] = unit;
    this.control[control.bootUnits] = count + 1;
  }

  isMapped(unit: number): boolean {
    return ((this.cuts[unit] as number) & unitFlag.mapped) !== 0;
  }

  setMapped(unit: number, isMapped: boolean): void {
    if (isMapped) this.cuts[unit] = (this.cuts[unit] as number) | unitFlag.mapped;
    else this.cuts[unit] = (this.cuts[unit] as number) & ~unitFlag.mapped;
  }
}
