/**
 * What makes the cache file believable after its process has ended: a checksum of every clean unit's
 * valid blocks, kept in shared memory and in the residency log. A unit that an earlier process left is
 * compared with it at the first touch, in whichever lane that is; what differs is dropped and fetched
 * again. All of it under the image lock.
 *
 * Not covered are dirty blocks: until a cut has stored them nothing else knows what they are. After a
 * clean end there are none.
 */
import { crc32 } from "node:zlib";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import type { CacheFiles } from "./block-cache.ts";
import { runEnd } from "./block-masks.ts";
import { readFully, writeFully } from "./file-io.ts";
import { allBlocks } from "./limits.ts";
import { control, unitFlag, type SharedState } from "./shared-state.ts";

const zeros = new Uint8Array(unitSizeBytes);

/** CRC-32 of the blocks that the mask names, in ascending order. */
export function checkOf(unit: Uint8Array, blocks: number): number {
  if (blocks === allBlocks) return crc32(unit);
  let check = 0;
  forEachRun(blocks, (start, end) => (check = crc32(unit.subarray(start, end), check)));
  return check;
}

/** Whether the unit can have a check: it has blocks, and neither a writer nor a cut has its hands on it. */
export function isClean(state: SharedState, unit: number): boolean {
  const word = state.cuts[unit] as number;
  return state.valid(unit) !== 0 && state.dirty(unit) === 0 && (word & allBlocks) === 0;
}

/**
 * Compares a unit that an earlier process left with what is known of it, and drops or zeroes what is
 * not so. Afterwards it counts as verified. Returns false when something was wrong.
 */
export function verifyUnit(
  state: SharedState,
  files: CacheFiles,
  unit: number,
  buffer: Uint8Array,
): boolean {
  const word = state.cuts[unit] as number;
  state.cuts[unit] = word | unitFlag.verified;
  // A file that this process made has nothing in it that came from elsewhere.
  if (state.control[control.foundFile] === 0) return true;
  const dirty = state.dirty(unit) | (word & allBlocks);
  if ((word & unitFlag.mapped) === 0) {
    if ((dirty & allBlocks) === allBlocks) return true;
    return zeroBlocks(files.blocks, unit, allBlocks & ~dirty, buffer);
  }
  if ((word & unitFlag.checked) === 0) return true;
  if (matchesCheck(state, files, unit, buffer)) return true;
  dropUnit(state, unit);
  return false;
}

/** Whether the file still has what the check was made of. A disk that cannot read it has not. */
export function matchesCheck(
  state: SharedState,
  files: CacheFiles,
  unit: number,
  buffer: Uint8Array,
): boolean {
  try {
    readFully(files.blocks, buffer, 0, unitSizeBytes, unit * unitSizeBytes);
  } catch {
    return false;
  }
  return checkOf(buffer, state.valid(unit)) === (state.checks[unit] as number) >>> 0;
}

/**
 * Forgets a clean unit, so that it is fetched again. The log goes on calling it valid with a check that
 * the file does not match, and so the next process comes to the same end.
 */
export function dropUnit(state: SharedState, unit: number): void {
  state.setMasks(unit, 0, 0);
  state.cuts[unit] = (state.cuts[unit] as number) & ~unitFlag.checked;
}

export function setCheck(state: SharedState, unit: number, check: number): void {
  state.checks[unit] = check;
  state.cuts[unit] = (state.cuts[unit] as number) | unitFlag.checked | unitFlag.verified;
}

/** Blocks that neither the map nor a writer knows are zeros. Writes those that are not; true when all were. */
function zeroBlocks(blocksFile: number, unit: number, blocks: number, buffer: Uint8Array): boolean {
  const at = unit * unitSizeBytes;
  readFully(blocksFile, buffer, 0, unitSizeBytes, at);
  let wereZeros = true;
  forEachRun(blocks, (start, end) => {
    if (Buffer.compare(buffer.subarray(start, end), zeros.subarray(start, end)) === 0) return;
    wereZeros = false;
    writeFully(blocksFile, zeros, end - start, at + start);
  });
  return wereZeros;
}

/** Calls back with the byte range, within the unit, of every run of blocks. */
function forEachRun(blocks: number, visit: (start: number, end: number) => void): void {
  for (let block = 0; block < blocksPerUnit;) {
    const end = runEnd(blocks, block);
    if (end > block) visit(block * blockSizeBytes, end * blockSizeBytes);
    block = end > block ? end : block + 1;
  }
}
