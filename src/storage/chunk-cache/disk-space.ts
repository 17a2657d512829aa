/**
 * What the space that the cache's disk has left means for writers. Either lane measures and says so in
 * shared memory.
 */
import { statfsSync } from "node:fs";
import { blockSizeBytes } from "../block-map/geometry.ts";
import {
  freeBytesMinMax,
  freeRatioMin,
  headroomBytesMax,
  headroomRatio,
  slowWriteBelowRatio,
  slowWriteDirtyBytesMin,
  slowWriteMsMax,
} from "./limits.ts";
import { control, type SharedState } from "./shared-state.ts";

/** Of the file system that the cache is on. */
export interface DiskSpace {
  freeBytes: number;
  sizeBytes: number;
}

/** Values of `control.diskLow`. */
export const diskLow = {
  no: 0,
  /** Every write goes to the slow lane, which measures before each. */
  near: 1,
  /** Large writes wait, and fail in the end: what is left is for the guest's file system itself. */
  now: 2,
} as const;

export function spaceOf(descriptor: number): DiskSpace {
  const { bavail, bsize, blocks } = statfsSync(`/proc/self/fd/${descriptor}`);
  return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
}

/** What caches leave free of the disk, unless told otherwise. */
export function usualFreeBytesMin(sizeBytes: number): number {
  return Math.min(sizeBytes * freeRatioMin, freeBytesMinMax);
}

/** What is kept of the disk for small writes. */
export function headroomBytes({ sizeBytes }: DiskSpace): number {
  return Math.min(sizeBytes * headroomRatio, headroomBytesMax);
}

/**
 * A disk that goes on filling up under eviction is full of what the bucket does not have yet: writers
 * wait a little, the longer the less is left, so that the bucket can catch up. What was written since
 * the last cut began may be small all the same, and then it passes.
 */
export function noteSpace(state: SharedState, space: DiskSpace, freeBytesMin: number): void {
  const words = state.control;
  const share = space.freeBytes / (freeBytesMin * slowWriteBelowRatio);
  const dirtyBytes = (words[control.dirtyBlocks] as number) * blockSizeBytes;
  const isSlowed = share < 1 && dirtyBytes >= slowWriteDirtyBytesMin;
  words[control.writeDelayMs] = isSlowed ? Math.ceil(slowWriteMsMax * (1 - share)) : 0;
  const headroom = headroomBytes(space);
  if (space.freeBytes < headroom) words[control.diskLow] = diskLow.now;
  else words[control.diskLow] = space.freeBytes < 2 * headroom ? diskLow.near : diskLow.no;
}
