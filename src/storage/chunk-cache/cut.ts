/**
 * A cut: the content of all dirty units at one instant, read afterwards. The slow lane makes cuts,
 * one at a time; writers that come first copy a unit aside (BlockCache.preserve), and the image
 * lock decides who is first.
 */
import { assert } from "../../base/assert.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import type { BlockCache } from "./block-cache.ts";
import { runEnd } from "./block-masks.ts";
import { readFully } from "./file-io.ts";
import { allBlocks } from "./limits.ts";
import { recordType } from "./residency-log.ts";
import { control, cutFlags, unitFlag } from "./shared-state.ts";

/** What of a unit a cut can read: masks of blocks. */
export interface Captured {
  /** Blocks that were written since the cut before. */
  dirty: number;
  /** Blocks that are here as they were when the cut began, dirty ones included. */
  here: number;
}

/** Ends the stretch of writes that belongs to the cut. Returns its units, ascending. */
export function beginCut(cache: BlockCache, cut: number): Int32Array {
  const { state, log } = cache;
  return cache.locked(() => {
    assert(state.control[control.cutRunning] === 0, "one cut runs at a time");
    log.mark(recordType.cutBegun, cut);
    const count = state.control[control.dirtyUnits] as number;
    const units = new Int32Array(count);
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const unit = state.dirtyList[i] as number;
      const dirty = state.dirty(unit);
      let word = (state.cuts[unit] as number) & ~unitFlag.listed;
      if (dirty !== 0) {
        word |= dirty;
        if ((word & unitFlag.zeroed) !== 0) word |= unitFlag.cutZeroed;
        units[kept++] = unit;
      }
      state.cuts[unit] = word & ~unitFlag.zeroed;
      // The list still holds the unit's place, so the dirty mask is taken off directly.
      state.masks[unit] = (state.masks[unit] as number) & 0xffff;
      state.loggedDirty[unit] = 0;
    }
    state.control[control.dirtyUnits] = 0;
    state.control[control.dirtyBlocks] = 0;
    state.control[control.cutRunning] = 1;
    return units.subarray(0, kept).sort();
  });
}

/**
 * Reads blocks of a unit of the running cut, at their places in `into`; `choose` says which of those that
 * are here. Returns the blocks read, or "zeros" when every byte of the unit is zero.
 *
 * The bytes are read without the lock, so that the guest does not wait for them: a writer that comes
 * meanwhile preserves the unit first, and then it is read from there.
 */
export function captureUnit(
  cache: BlockCache,
  unit: number,
  into: Uint8Array,
  choose: (captured: Captured) => number,
): number | "zeros" {
  for (;;) {
    const source = cache.locked(() => findSource(cache, unit));
    if (source === "zeros") return "zeros";
    const blocks = choose(source);
    assert((blocks & ~source.here) === 0, "only what is here can be read");
    readBlocks(source.file, unit, blocks, into);
    if (cache.locked(() => confirmSource(cache, unit, source))) return blocks;
  }
}

function readBlocks(file: number, unit: number, blocks: number, into: Uint8Array): void {
  for (let block = 0; block < blocksPerUnit;) {
    const end = runEnd(blocks, block);
    if (end > block) {
      const [at, lengthBytes] = [block * blockSizeBytes, (end - block) * blockSizeBytes];
      readFully(file, into, at, lengthBytes, unit * unitSizeBytes + at);
    }
    block = end > block ? end : block + 1;
  }
}

interface CaptureSource extends Captured {
  file: number;
  isPreserved: boolean;
}

function findSource(cache: BlockCache, unit: number): CaptureSource | "zeros" {
  const { state, files } = cache;
  const word = state.cuts[unit] as number;
  const dirty = word & allBlocks;
  assert(dirty !== 0, "the unit belongs to the cut");
  if ((word & unitFlag.cutZeroed) !== 0) {
    state.cuts[unit] = word | unitFlag.captured;
    return "zeros";
  }
  if ((word & unitFlag.preserved) !== 0) {
    const here = state.asideValid[unit] as number;
    return { file: files.aside, isPreserved: true, dirty, here };
  }
  const here = allBlocks & ~cache.missingBlocks(unit);
  return { file: files.blocks, isPreserved: false, dirty, here };
}

/** Marks the unit as captured, unless it was preserved after its source was found. */
function confirmSource(cache: BlockCache, unit: number, source: CaptureSource): boolean {
  const word = cache.state.cuts[unit] as number;
  if (!source.isPreserved && (word & unitFlag.preserved) !== 0) return false;
  cache.state.cuts[unit] = word | unitFlag.captured;
  return true;
}

/** Ends a cut that the map has committed; `isMapped` tells what the map now says of each of its units. */
export function finishCut(
  cache: BlockCache,
  cut: number,
  units: Int32Array,
  isMapped: (unit: number) => boolean,
): void {
  const { state, log } = cache;
  cache.locked(() => {
    try {
      log.mark(recordType.cutCommitted, cut);
    } catch {
      // The disk is full. Replay learns the same from the map's own cut number, so the marker may be missing.
    }
    for (const unit of units) {
      state.cuts[unit] = (state.cuts[unit] as number) & ~(allBlocks | cutFlags);
      state.setMapped(unit, isMapped(unit));
    }
    state.control[control.cutRunning] = 0;
  });
}

/** Takes a cut back that could not be stored: its blocks are dirty again, and the next cut has them. */
export function abortCut(cache: BlockCache, units: Int32Array): void {
  const { state } = cache;
  cache.locked(() => {
    for (const unit of units) {
      const word = state.cuts[unit] as number;
      const wasZeroed = (word & unitFlag.cutZeroed) !== 0 && state.dirty(unit) === 0;
      state.cuts[unit] = word & ~(allBlocks | cutFlags);
      state.setMasks(unit, state.valid(unit), state.dirty(unit) | (word & allBlocks));
      if (wasZeroed) state.cuts[unit] = state.cuts[unit] | unitFlag.zeroed;
    }
    state.control[control.cutRunning] = 0;
  });
}
