/** Layouts as values: what a change makes of one, and when two are the same. */
import { assert } from "../../base/assert.ts";
import { countBlocks } from "./block-mask.ts";
import { everyBlock } from "./geometry.ts";
import { slicesPerUnitMax, wholeUnitBlocksMin } from "./limits.ts";
import type { Slice, UnitChange, UnitLayout } from "./types.ts";

/**
 * The unit after a change: what it replaces is live nowhere else any more, and slices of which nothing
 * is left are gone.
 */
export function changeLayout(layout: UnitLayout | null, change: UnitChange): UnitLayout | null {
  const { blocks, slice } = change;
  assert(blocks > 0 && blocks <= everyBlock, "a change has blocks");
  const slices: Slice[] = [];
  for (const old of layout ?? []) {
    const live = old.live & ~blocks;
    if (live !== 0) slices.push(live === old.live ? old : { ...old, live });
  }
  if (slice !== null) {
    assert(slice.stored !== 0 && (slice.stored & ~blocks) === 0, "what is stored is replaced");
    const { segment, offsetBlocks, stored, check } = slice;
    slices.push({ segment, offsetBlocks, stored, live: stored, check });
  }
  return slices.length === 0 ? null : slices;
}

/** The blocks of the unit that are stored somewhere; the others are zeros. */
export function liveBlocks(layout: UnitLayout | null): number {
  let blocks = 0;
  for (const { live } of layout ?? []) blocks |= live;
  return blocks;
}

/**
 * Which blocks of a unit a cut stores. The dirty ones, which is the least that can be written; but when half
 * of the unit is dirty, or it would be in too many pieces for one who reads it cold, everything that is at
 * hand. Nothing is ever fetched for a cut.
 */
export function blocksToStore(unit: {
  /** Blocks that differ from what the map has. */
  dirty: number;
  /** Blocks whose content is here, dirty ones included. */
  here: number;
  layout: UnitLayout | null;
}): number {
  const { dirty, here, layout } = unit;
  // Of a unit that the map does not have, what is not dirty is zeros, and those are not stored.
  if (layout === null) return dirty;
  if (here === everyBlock && countBlocks(dirty) >= wholeUnitBlocksMin) return here;
  const slicesAfter = 1 + countRemaining(layout, dirty);
  if (slicesAfter <= slicesPerUnitMax) return dirty;
  return 1 + countRemaining(layout, here) < slicesAfter ? here : dirty;
}

function countRemaining(layout: UnitLayout, replaced: number): number {
  return layout.filter(({ live }) => (live & ~replaced) !== 0).length;
}

/** True when both place the unit alike, which means that its content is the same. */
export function isSameLayout(a: UnitLayout | null, b: UnitLayout | null): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((slice, index) => isSameSlice(slice, b[index]));
}

function isSameSlice(a: Slice, b: Slice | undefined): boolean {
  return (
    a.segment === b?.segment &&
    a.offsetBlocks === b.offsetBlocks &&
    a.stored === b.stored &&
    a.live === b.live &&
    a.check === b.check
  );
}
