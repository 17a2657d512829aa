/**
 * A cut: the content of all dirty units at one instant, read afterwards. The slow lane makes cuts,
 * one at a time; writers that come first copy a unit aside (BlockCache.preserve), and the image
 * lock decides who is first.
 */
import { assert } from "../../base/assert.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import type { BlockCache } from "./block-cache.ts";
import { readFully } from "./file-io.ts";
import { allBlocks } from "./limits.ts";
import { recordType } from "./residency-log.ts";
import { control, cutFlags, unitFlag } from "./shared-state.ts";

export type Capture =
  /** The unit's content is in the buffer. */
  | "content"
  /** Every byte of the unit is zero. */
  | "zeros"
  /** Not all blocks are here: call again with the unit's content as the map has it. */
  | "incomplete";

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
 * Reads a unit as it was when the cut began; afterwards writers need not preserve it any more. The
 * bytes are read without the lock, so that the guest does not wait for them: a writer that comes
 * meanwhile preserves the unit first, and then it is read from there.
 */
export function captureUnit(
  cache: BlockCache,
  unit: number,
  into: Uint8Array,
  base: Uint8Array | null,
): Capture {
  for (;;) {
    const source = cache.locked(() => findSource(cache, unit));
    if (source === "zeros") return "zeros";
    if (source.here !== allBlocks && base === null) return "incomplete";
    readFully(source.file, into, 0, unitSizeBytes, unit * unitSizeBytes);
    if (!cache.locked(() => confirmSource(cache, unit, source))) continue;
    for (let block = 0; block < blocksPerUnit && base !== null; block++) {
      if ((source.here & (1 << block)) !== 0) continue;
      const at = block * blockSizeBytes;
      into.set(base.subarray(at, at + blockSizeBytes), at);
    }
    return "content";
  }
}

interface CaptureSource {
  file: number;
  isPreserved: boolean;
  /** Blocks that the file has as they were when the cut began. */
  here: number;
}

function findSource(cache: BlockCache, unit: number): CaptureSource | "zeros" {
  const { state, files } = cache;
  const word = state.cuts[unit] as number;
  assert((word & allBlocks) !== 0, "the unit belongs to the cut");
  if ((word & unitFlag.cutZeroed) !== 0) {
    state.cuts[unit] = word | unitFlag.captured;
    return "zeros";
  }
  if ((word & unitFlag.preserved) !== 0) {
    return { file: files.aside, isPreserved: true, here: state.asideValid[unit] as number };
  }
  const here = allBlocks & ~cache.missingBlocks(unit);
  return { file: files.blocks, isPreserved: false, here };
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
