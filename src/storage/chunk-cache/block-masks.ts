/** Masks of the blocks of one unit: bit n stands for block n. */
import { assert } from "../../base/assert.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";

/** The blocks of a unit that the byte range touches. */
export function rangeMask(unit: number, start: number, end: number): number {
  const unitStart = unit * unitSizeBytes;
  const first = start <= unitStart ? 0 : Math.floor((start - unitStart) / blockSizeBytes);
  const rest = end - unitStart;
  const last = rest >= unitSizeBytes ? blocksPerUnit : Math.ceil(rest / blockSizeBytes);
  return blockMask(first, last);
}

/** The end of the run of set bits that begins at `first`; `first` itself when its bit is not set. */
export function runEnd(mask: number, first: number): number {
  let end = first;
  while (end < blocksPerUnit && (mask & (1 << end)) !== 0) end++;
  return end;
}

export function countBits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The bits of the blocks `first` up to, not including, `end`. */
function blockMask(first: number, end: number): number {
  assert(first >= 0 && first < end && end <= blocksPerUnit, "blocks lie in the unit");
  return ((1 << (end - first)) - 1) << first;
}
