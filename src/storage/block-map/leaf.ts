import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { blocksPerUnit, unitsPerLeaf } from "./geometry.ts";
import type { Slice } from "./types.ts";

/**
 * A leaf: where the 256 units of one 16 MiB stretch of a file are. 12 bytes an entry, little-endian
 * (docs/formats/block-map.md): segment u32, offsetBlocks u16, lengthBlocks u8, zero u8, check u32.
 * Segment 0 means that the unit is not mapped and reads as zeros.
 */

const entrySizeBytes = 12;
const leafSizeBytesMax = entrySizeBytes * unitsPerLeaf;
export const segmentIdMax = 0xffff_ffff;
export const offsetBlocksMax = 0xffff;

/** A leaf in memory: always of full size, so that any entry can be set. */
export type Leaf = Buffer;

export function emptyLeaf(): Leaf {
  return Buffer.alloc(leafSizeBytesMax);
}

/** Makes a changeable copy of a stored leaf. */
export function decodeLeaf(stored: Uint8Array): Leaf {
  if (stored.length % entrySizeBytes !== 0 || stored.length > leafSizeBytesMax) {
    throw new SpriteError("storage_failure", `block map leaf has a size of ${stored.length} bytes`);
  }
  const leaf = emptyLeaf();
  leaf.set(stored);
  return leaf;
}

/** The bytes to store: trailing unmapped entries are left out, so an empty leaf has no bytes. */
export function encodeLeaf(leaf: Leaf): Uint8Array {
  let count = unitsPerLeaf;
  while (count > 0 && segmentAt(leaf, count - 1) === 0) count--;
  return leaf.subarray(0, count * entrySizeBytes);
}

export function segmentAt(leaf: Leaf, index: number): number {
  return leaf.readUInt32LE(index * entrySizeBytes);
}

export function lengthBlocksAt(leaf: Leaf, index: number): number {
  return leaf.readUInt8(index * entrySizeBytes + 6);
}

export function getEntry(leaf: Leaf, index: number): Slice | null {
  const at = index * entrySizeBytes;
  const segment = leaf.readUInt32LE(at);
  if (segment === 0) return null;
  const lengthBlocks = leaf.readUInt8(at + 6);
  if (lengthBlocks < 1 || lengthBlocks > blocksPerUnit) {
    throw new SpriteError("storage_failure", `block map entry has ${lengthBlocks} blocks`);
  }
  return {
    segment,
    offsetBlocks: leaf.readUInt16LE(at + 4),
    lengthBlocks,
    check: leaf.readUInt32LE(at + 8),
  };
}

export function setEntry(leaf: Leaf, index: number, slice: Slice | null): void {
  const at = index * entrySizeBytes;
  if (slice === null) {
    leaf.fill(0, at, at + entrySizeBytes);
    return;
  }
  assert(slice.segment >= 1 && slice.segment <= segmentIdMax, "segment id is in range");
  assert(slice.offsetBlocks <= offsetBlocksMax, "slice offset is in range");
  assert(
    slice.lengthBlocks >= 1 && slice.lengthBlocks <= blocksPerUnit,
    "slice length is in range",
  );
  leaf.writeUInt32LE(slice.segment, at);
  leaf.writeUInt16LE(slice.offsetBlocks, at + 4);
  leaf.writeUInt8(slice.lengthBlocks, at + 6);
  leaf.writeUInt8(0, at + 7);
  leaf.writeUInt32LE(slice.check, at + 8);
}

/** True when both leaves place the unit alike, which means that its content is the same. */
export function sameEntry(a: Leaf, b: Leaf, index: number): boolean {
  const at = index * entrySizeBytes;
  return a.compare(b, at, at + entrySizeBytes, at, at + entrySizeBytes) === 0;
}
