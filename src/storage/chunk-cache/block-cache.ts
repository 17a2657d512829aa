/**
 * The local copy of a volume: a sparse file in which a block lies at its own offset, with masks in
 * shared memory that say what is valid and what is dirty. Each lane makes one over the same memory
 * and files; every method takes the image lock for as long as it touches either.
 *
 * Order of a change: preserve what a running cut still needs, log the dirty bits, write the bytes,
 * log the valid bits. So a kill at any instant leaves at worst a block that is called dirty without
 * having changed, never one that is called valid without its bytes.
 */
import { crc32 } from "node:zlib";
import { assert } from "../../base/assert.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import { rangeMask, runEnd } from "./block-masks.ts";
import { diskFullError, readFully, writeFully, writeRange } from "./file-io.ts";
import { ImageLock, type Lane } from "./image-lock.ts";
import { allBlocks, punchBatchUnits } from "./limits.ts";
import { areaRecordsMax } from "./log-area.ts";
import type { PunchHole } from "./punch-hole.ts";
import { recordType, ResidencyLog } from "./residency-log.ts";
import { control, cutFlags, unitFlag, type SharedState } from "./shared-state.ts";
import { setCheck, verifyUnit } from "./unit-checks.ts";

export interface CacheFiles {
  blocks: number;
  /**
   * Holds what a running cut needs of units that were overwritten since; its content does not
   * outlive the cut.
   */
  aside: number;
}

export class BlockCache {
  readonly state: SharedState;
  readonly files: CacheFiles;
  readonly log: ResidencyLog;
  /** What was on its way comes too late: the files' descriptors may be others' by now. */
  isClosed = false;
  readonly #lock: ImageLock;
  /** The slow lane serves the reads that reach a unit marked `ahead`, to know how far a reader is. */
  readonly #passesAhead: boolean;
  readonly #unitBuffer = Buffer.alloc(unitSizeBytes);

  constructor(state: SharedState, files: CacheFiles, lane: Lane) {
    this.state = state;
    this.files = files;
    this.#passesAhead = lane === "fast";
    const recordsMax = areaRecordsMax(state.unitCount);
    this.log = new ResidencyLog(state, { descriptor: files.blocks, recordsMax, lane });
    this.#lock = new ImageLock(state.control, {
      stateIndex: control.lockState,
      waitersIndex: control.lockWaiters,
      lane,
    });
  }

  get sizeBytes(): number {
    return this.state.unitCount * unitSizeBytes;
  }

  /** Runs the work under the image lock. It must not wait for anything but the local disk. */
  locked<T>(work: () => T): T {
    this.#lock.lock();
    try {
      return work();
    } finally {
      this.#lock.unlock();
    }
  }

  /** Reads when all of the range is here; else returns false and reads nothing. */
  tryRead(offsetBytes: number, lengthBytes: number, into: Uint8Array, intoOffset: number): boolean {
    this.#lock.lock();
    try {
      if (!this.#isReadable(offsetBytes, lengthBytes)) return false;
      readFully(this.files.blocks, into, intoOffset, lengthBytes, offsetBytes);
      return true;
    } finally {
      this.#lock.unlock();
    }
  }

  /** The unit's content if it is here, whole, and as the map has it; else null. */
  readClean(unit: number): Uint8Array | null {
    return this.locked(() => {
      this.#verify(unit);
      const isCut = ((this.state.cuts[unit] as number) & allBlocks) !== 0;
      if (isCut || this.state.masks[unit] !== allBlocks) return null;
      const content = new Uint8Array(unitSizeBytes);
      readFully(this.files.blocks, content, 0, unitSizeBytes, unit * unitSizeBytes);
      return content;
    });
  }

  /** Blocks of the unit that a read would have to fetch first. */
  missingBlocks(unit: number): number {
    if (!this.state.isMapped(unit)) return 0;
    return allBlocks & ~this.state.valid(unit);
  }

  /**
   * Writes whole blocks.
   * @throws the file system's error, such as ENOSPC; a part may then have been written, as on any disk
   */
  write(offsetBytes: number, from: Uint8Array, fromOffset: number, lengthBytes: number): void {
    this.#verifyBlocks(offsetBytes, lengthBytes);
    this.#lock.lock();
    try {
      this.#writeLocked(offsetBytes, from, fromOffset, lengthBytes);
    } finally {
      this.#lock.unlock();
    }
  }

  /** Writes any range; false, with nothing done, while a block at its edges is not here. */
  tryWriteUnaligned(offsetBytes: number, from: Uint8Array): boolean {
    const start = offsetBytes - (offsetBytes % blockSizeBytes);
    const end = Math.ceil((offsetBytes + from.length) / blockSizeBytes) * blockSizeBytes;
    this.#lock.lock();
    try {
      if (!this.#isReadable(start, end - start)) return false;
      const blocks = Buffer.alloc(end - start);
      readFully(this.files.blocks, blocks, 0, blocks.length, start);
      blocks.set(from, offsetBytes - start);
      this.#writeLocked(start, blocks, 0, blocks.length);
      return true;
    } finally {
      this.#lock.unlock();
    }
  }

  /** Makes whole blocks zeros and gives their space back. The lock is let go between leaves. */
  punch(offsetBytes: number, lengthBytes: number, punchHole: PunchHole): void {
    this.#verifyBlocks(offsetBytes, lengthBytes);
    const end = offsetBytes + lengthBytes;
    const batchSizeBytes = punchBatchUnits * unitSizeBytes;
    for (let at = offsetBytes; at < end;) {
      const batchEnd = Math.min(end, at - (at % batchSizeBytes) + batchSizeBytes);
      this.locked(() => this.#punchLocked(at, batchEnd, punchHole));
      at = batchEnd;
    }
  }

  /** Puts a unit's stored content in place of the blocks that are still missing. */
  fill(unit: number, content: Uint8Array, knownCheck?: number): void {
    assert(content.length === unitSizeBytes, "a fill is a whole unit");
    if (this.isClosed) return;
    this.locked(() => {
      this.#verify(unit);
      const missing = this.missingBlocks(unit);
      if (missing === 0) return;
      for (let block = 0; block < blocksPerUnit;) {
        const end = runEnd(missing, block);
        if (end > block) {
          const at = block * blockSizeBytes;
          const bytes = content.subarray(at, end * blockSizeBytes);
          writeFully(this.files.blocks, bytes, bytes.length, unit * unitSizeBytes + at);
        }
        block = end > block ? end : block + 1;
      }
      const dirty = this.state.dirty(unit);
      this.#countGain();
      this.#logUnit(unit, allBlocks, dirty);
      const word = this.state.cuts[unit] as number;
      // What was here already is as the map has it too, unless somebody has written.
      const check = dirty === 0 && (word & allBlocks) === 0 ? (knownCheck ?? crc32(content)) : null;
      if (check !== null) this.log.addCheck(unit, check);
      this.#appendLog();
      this.state.setMasks(unit, allBlocks, dirty);
      if (check !== null) setCheck(this.state, unit, check);
      // Eviction takes what was read before what is about to be.
      this.state.cuts[unit] = (this.state.cuts[unit] as number) | unitFlag.referenced;
    });
  }

  /** Puts what is here of a unit over its stored content. */
  overlay(unit: number, content: Uint8Array): void {
    this.locked(() => {
      this.#verify(unit);
      readFully(this.files.blocks, this.#unitBuffer, 0, unitSizeBytes, unit * unitSizeBytes);
      const missing = this.missingBlocks(unit);
      for (let block = 0; block < blocksPerUnit; block++) {
        if ((missing & (1 << block)) !== 0) continue;
        const [start, end] = [block * blockSizeBytes, (block + 1) * blockSizeBytes];
        content.set(this.#unitBuffer.subarray(start, end), start);
      }
    });
  }

  /** Whether a write of whole blocks takes no space: all of it overwrites what has some. */
  isOverwrite(offsetBytes: number, lengthBytes: number): boolean {
    const end = offsetBytes + lengthBytes;
    return this.locked(() => {
      const last = Math.floor((end - 1) / unitSizeBytes);
      for (let unit = Math.floor(offsetBytes / unitSizeBytes); unit <= last; unit++) {
        this.#verify(unit);
        if (!this.#hasSpace(unit, rangeMask(unit, offsetBytes, end))) return false;
      }
      return true;
    });
  }

  /** Lets the slow lane hear of the next read of the unit. */
  markAhead(unit: number): void {
    this.locked(() => {
      const word = this.state.cuts[unit] as number;
      this.state.cuts[unit] = (word | unitFlag.ahead) & ~unitFlag.referenced;
    });
  }

  /** Takes the mark off these units; true when one had it. */
  takeAhead(first: number, end: number): boolean {
    const { cuts } = this.state;
    let wasMarked = false;
    for (let unit = first; unit < end; unit++) {
      if (((cuts[unit] as number) & unitFlag.ahead) === 0) continue;
      wasMarked = true;
      this.locked(() => (cuts[unit] = (cuts[unit] as number) & ~unitFlag.ahead));
    }
    return wasMarked;
  }

  /**
   * Verifies what an earlier process left of a unit, if nobody has yet. False when something was wrong:
   * what is not right any more is not here any more.
   */
  verify(unit: number): boolean {
    return this.locked(() => this.#verify(unit));
  }

  #verify(unit: number): boolean {
    if (((this.state.cuts[unit] as number) & unitFlag.verified) !== 0) return true;
    return verifyUnit(this.state, this.files, unit, this.#unitBuffer);
  }

  #isReadable(offsetBytes: number, lengthBytes: number): boolean {
    const { masks, cuts } = this.state;
    let isHere = true;
    const last = Math.floor((offsetBytes + lengthBytes - 1) / unitSizeBytes);
    for (let unit = Math.floor(offsetBytes / unitSizeBytes); unit <= last; unit++) {
      const flags = cuts[unit] as number;
      if ((flags & touched) !== touched) {
        if (this.#passesAhead && (flags & unitFlag.ahead) !== 0) return false;
        this.#verify(unit);
        this.state.noteRead(unit);
      }
      if ((flags & unitFlag.mapped) === 0) continue;
      const valid = (masks[unit] as number) & 0xffff;
      if (valid === allBlocks) continue;
      const needed = rangeMask(unit, offsetBytes, offsetBytes + lengthBytes);
      // Looks at all of them, so that one fetch knows everything that is missing.
      if ((valid & needed) !== needed) isHere = false;
    }
    return isHere;
  }

  #writeLocked(offset: number, from: Uint8Array, fromOffset: number, length: number): void {
    const { state } = this;
    const end = offset + length;
    const first = Math.floor(offset / unitSizeBytes);
    const last = Math.floor((end - 1) / unitSizeBytes);
    const isFull = state.control[control.diskFull] !== 0;
    for (let unit = first; unit <= last; unit++) {
      const mask = rangeMask(unit, offset, end);
      this.#verify(unit);
      // What is free is kept for the cut that will make the rest free: only what has its space stays
      // writable, a guest's journal for one.
      if (isFull && !this.#hasSpace(unit, mask)) throw diskFullError();
      this.#preserve(unit);
      const valid = this.#validBeforeWrite(unit);
      const dirty = state.dirty(unit) | mask;
      if (valid !== state.valid(unit) || !this.#isLogged(unit, dirty)) {
        // Of a unit that is all here the log may say more than is true: then its next writes need no record.
        this.#logUnit(unit, valid, valid === allBlocks ? allBlocks : dirty);
      }
    }
    this.#appendLog();
    let gains = false;
    for (let unit = first; unit <= last; unit++) {
      const valid = this.#validBeforeWrite(unit);
      const mask = rangeMask(unit, offset, end);
      state.setMasks(unit, valid, state.dirty(unit) | (mask & valid));
      state.cuts[unit] = (state.cuts[unit] as number) & ~(unitFlag.zeroed | unitFlag.checked);
      if ((mask & ~valid) !== 0) gains = true;
    }
    writeRange(this.files.blocks, from, fromOffset, length, offset);
    if (gains) this.#gainValid(offset, end);
  }

  /** Whether the blocks can be written without taking space, in the cache file or aside. */
  #hasSpace(unit: number, mask: number): boolean {
    const { state } = this;
    const held = state.dirty(unit) | (state.isMapped(unit) ? state.valid(unit) : 0);
    return (held & mask) === mask && !this.#needsPreserving(unit);
  }

  /**
   * Blocks of a unit that the map does not have are zeros, as they are in the sparse file: they
   * count as valid.
   */
  #validBeforeWrite(unit: number): number {
    return this.state.isMapped(unit) ? this.state.valid(unit) : allBlocks;
  }

  /** Whether a replay of the log would call these blocks dirty. */
  #isLogged(unit: number, dirty: number): boolean {
    return (dirty & ~(this.state.loggedDirty[unit] as number)) === 0;
  }

  #logUnit(unit: number, valid: number, dirty: number): void {
    this.log.add(recordType.unit, unit, valid, dirty);
    this.state.loggedDirty[unit] = dirty;
  }

  #appendLog(): void {
    try {
      this.log.append();
    } catch (error) {
      // What was taken for logged is not.
      this.state.forgetLogged();
      throw error;
    }
  }

  #countGain(): void {
    const words = this.state.control;
    words[control.validGains] = ((words[control.validGains] as number) + 1) | 0;
  }

  #gainValid(offset: number, end: number): void {
    const { state } = this;
    this.#countGain();
    const first = Math.floor(offset / unitSizeBytes);
    const last = Math.floor((end - 1) / unitSizeBytes);
    for (let unit = first; unit <= last; unit++) {
      const mask = rangeMask(unit, offset, end);
      if ((mask & ~state.valid(unit)) === 0) continue;
      this.#logUnit(unit, state.valid(unit) | mask, state.dirty(unit) | mask);
    }
    this.#appendLog();
    for (let unit = first; unit <= last; unit++) {
      const mask = rangeMask(unit, offset, end);
      state.setMasks(unit, state.valid(unit) | mask, state.dirty(unit) | mask);
    }
  }

  /** Copies a unit that a running cut has not read yet out of a writer's way. */
  #preserve(unit: number): void {
    if (!this.#needsPreserving(unit)) return;
    const at = unit * unitSizeBytes;
    readFully(this.files.blocks, this.#unitBuffer, 0, unitSizeBytes, at);
    writeFully(this.files.aside, this.#unitBuffer, unitSizeBytes, at);
    this.state.asideValid[unit] = this.#validBeforeWrite(unit);
    this.state.cuts[unit] = (this.state.cuts[unit] as number) | unitFlag.preserved;
  }

  #needsPreserving(unit: number): boolean {
    const word = this.state.cuts[unit] as number;
    return (word & allBlocks) !== 0 && (word & cutFlags) === 0;
  }

  #punchLocked(offset: number, end: number, punchHole: PunchHole): void {
    const { state } = this;
    const first = Math.floor(offset / unitSizeBytes);
    const last = Math.floor((end - 1) / unitSizeBytes);
    let changes = false;
    let gains = false;
    for (let unit = first; unit <= last; unit++) {
      if (this.#isKnownZero(unit)) continue;
      changes = true;
      this.#verify(unit);
      this.#preserve(unit);
      const mask = rangeMask(unit, offset, end);
      if ((mask & ~this.#validBeforeWrite(unit)) !== 0) gains = true;
      const dirty = state.dirty(unit) | mask;
      if (!this.#isLogged(unit, dirty)) this.#logUnit(unit, this.#validBeforeWrite(unit), dirty);
    }
    if (!changes) return;
    this.#appendLog();
    for (let unit = first; unit <= last; unit++) {
      if (this.#isKnownZero(unit)) continue;
      const valid = this.#validBeforeWrite(unit);
      const mask = rangeMask(unit, offset, end);
      state.setMasks(unit, valid, state.dirty(unit) | (mask & valid));
      state.cuts[unit] = (state.cuts[unit] as number) & ~unitFlag.checked;
    }
    punchHole(this.files.blocks, offset, end - offset);
    if (gains) this.#countGain();
    for (let unit = first; unit <= last; unit++) {
      if (this.#isKnownZero(unit)) continue;
      const mask = rangeMask(unit, offset, end);
      const valid = state.valid(unit) | mask;
      const dirty = state.dirty(unit) | mask;
      if (valid !== state.valid(unit)) this.#logUnit(unit, valid, dirty);
    }
    this.#appendLog();
    for (let unit = first; unit <= last; unit++) {
      if (this.#isKnownZero(unit)) continue;
      const mask = rangeMask(unit, offset, end);
      state.setMasks(unit, state.valid(unit) | mask, state.dirty(unit) | mask);
      if (mask === allBlocks) state.cuts[unit] = (state.cuts[unit] as number) | unitFlag.zeroed;
    }
  }

  /** A unit that neither the map, nor a running cut, nor a writer has touched is a hole already. */
  #isKnownZero(unit: number): boolean {
    const word = this.state.cuts[unit] as number;
    return (word & (unitFlag.mapped | allBlocks)) === 0 && this.state.dirty(unit) === 0;
  }

  #verifyBlocks(offsetBytes: number, lengthBytes: number): void {
    assert(
      lengthBytes > 0 && offsetBytes >= 0 && offsetBytes + lengthBytes <= this.sizeBytes,
      "the range lies in the volume",
    );
    assert(
      offsetBytes % blockSizeBytes === 0 && lengthBytes % blockSizeBytes === 0,
      "whole blocks",
    );
  }
}

/** A unit with all of them needs nothing done before it is read. */
const touched = unitFlag.referenced | unitFlag.verified | unitFlag.read;
