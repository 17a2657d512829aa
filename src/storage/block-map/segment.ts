import { crc32 } from "node:zlib";
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { countBlocks } from "./block-mask.ts";
import { blockSizeBytes, blocksPerUnit, everyBlock, unitSizeBytes } from "./geometry.ts";
import { offsetBlocksMax } from "./leaf.ts";
import type { NewSlice, Slice, UnitLayout } from "./types.ts";

/**
 * Segments: immutable objects that hold slices of units one after the other (docs/formats/segment.md).
 * Block 0 is the header, so that every slice lies at a multiple of 4 KiB from the object's start.
 *
 * | offset | size | field                                      |
 * |      0 |    8 | magic "OSSEGMNT"                           |
 * |      8 |    4 | format version, u32 little-endian          |
 * |     12 |    4 | codec: 0 = the blocks as they are          |
 * |     16 |    4 | block size in bytes, 4096                  |
 * |     20 |    4 | blocks in the object, header included, u32 |
 * |     24 |   36 | zeros                                      |
 * |     60 |    4 | CRC-32 of the 60 bytes before              |
 */
const magic = "OSSEGMNT";
const formatVersion = 1;
const codecNone = 0;
const headerFieldsSizeBytes = 60;

/** Where the first slice begins. */
const headerSizeBlocks = 1;
/** A segment is sealed when the next unit does not fit. */
export const segmentSizeBytesMax = 4 * 1024 * 1024;

const zeroBlock = Buffer.alloc(blockSizeBytes);

/** Where a slice is within the segment that is being written. */
export type SlicePlace = Omit<NewSlice, "segment">;

/** Collects units into one segment, in memory. Use it once: `finish` gives the buffer away. */
export class SegmentWriter {
  readonly #buffer: Buffer;
  #usedBlocks = headerSizeBlocks;
  #isFinished = false;

  /** `buffer` is where the segment is put together: one that was used before saves the allocation. */
  constructor(options: { sizeBytesMax?: number; buffer?: Buffer } = {}) {
    const sizeBytesMax = options.sizeBytesMax ?? options.buffer?.length ?? segmentSizeBytesMax;
    assert(sizeBytesMax % blockSizeBytes === 0, "segment size is a multiple of the block size");
    assert(sizeBytesMax / blockSizeBytes <= offsetBlocksMax, "slice offsets fit into 16 bits");
    this.#buffer = options.buffer ?? Buffer.alloc(sizeBytesMax);
    // Whatever was in the header's block before is not part of this segment.
    this.#buffer.fill(0, 0, blockSizeBytes);
  }

  get isEmpty(): boolean {
    return this.#usedBlocks === headerSizeBlocks;
  }

  /** Size of the object if it were finished now. */
  get sizeBytes(): number {
    return this.#usedBlocks * blockSizeBytes;
  }

  /** True when so many blocks can still be appended. */
  hasRoom(blockCount: number): boolean {
    return this.sizeBytes + blockCount * blockSizeBytes <= this.#buffer.length;
  }

  /** Appends the blocks of a unit that the mask `stored` names. */
  append(unit: Uint8Array, stored: number): SlicePlace {
    assert(unit.length === unitSizeBytes, "slice is of a whole unit");
    return this.#append(stored, (into) => copyBlocks(unit, stored, into));
  }

  /** Appends blocks that lie next to each other already; `stored` says which of their unit they are. */
  appendPacked(blocks: Uint8Array, stored: number): SlicePlace {
    assert(blocks.length === countBlocks(stored) * blockSizeBytes, "the blocks are those named");
    return this.#append(stored, (into) => into.set(blocks));
  }

  #append(stored: number, write: (into: Buffer) => void): SlicePlace {
    assert(!this.#isFinished, "segment is being written");
    assert(stored > 0 && stored <= everyBlock, "slice has 1 to 16 blocks");
    assert(this.hasRoom(countBlocks(stored)), "segment has room");
    const offsetBlocks = this.#usedBlocks;
    this.#usedBlocks += countBlocks(stored);
    const bytes = this.#buffer.subarray(offsetBlocks * blockSizeBytes, this.sizeBytes);
    write(bytes);
    return { offsetBlocks, stored, check: crc32(bytes) };
  }

  /** The whole object. */
  finish(): Uint8Array {
    assert(!this.isEmpty && !this.#isFinished, "segment has slices and is finished once");
    this.#isFinished = true;
    const header = this.#buffer;
    header.write(magic, 0, "latin1");
    header.writeUInt32LE(formatVersion, 8);
    header.writeUInt32LE(codecNone, 12);
    header.writeUInt32LE(blockSizeBytes, 16);
    header.writeUInt32LE(this.#usedBlocks, 20);
    header.writeUInt32LE(crc32(header.subarray(0, headerFieldsSizeBytes)), headerFieldsSizeBytes);
    return this.#buffer.subarray(0, this.sizeBytes);
  }
}

/**
 * Checks the beginning of an object of `sizeBytes` bytes: for whoever reads whole segments, such as a scrubber.
 * @throws SpriteError storage_failure: it is no segment, cut off, or of a format or codec that we do not know
 */
export function verifySegmentHeader(bytes: Uint8Array, sizeBytes: number, key: string): void {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const fail = (reason: string): SpriteError =>
    new SpriteError("storage_failure", `segment ${key} is damaged: ${reason}`);
  if (header.length < blockSizeBytes || header.toString("latin1", 0, 8) !== magic) {
    throw fail("it has no header");
  }
  const fields = header.subarray(0, headerFieldsSizeBytes);
  if (crc32(fields) !== header.readUInt32LE(headerFieldsSizeBytes)) throw fail("its header");
  const version = header.readUInt32LE(8);
  const codec = header.readUInt32LE(12);
  if (version !== formatVersion || codec !== codecNone) {
    const message = `segment ${key} has format ${version} with codec ${codec}, which is unknown`;
    throw new SpriteError("storage_failure", message);
  }
  if (header.readUInt32LE(16) !== blockSizeBytes) throw fail("its block size");
  if (header.readUInt32LE(20) * blockSizeBytes !== sizeBytes) throw fail("it is cut off");
}

/** Those of the blocks that are not all zeros, and so have to be stored. */
export function nonZeroBlocks(unit: Uint8Array, blocks: number): number {
  let found = 0;
  for (let block = 0; block < blocksPerUnit; block++) {
    const at = block * blockSizeBytes;
    const isAsked = (blocks & (1 << block)) !== 0;
    if (isAsked && !zeroBlock.equals(unit.subarray(at, at + blockSizeBytes))) found |= 1 << block;
  }
  return found;
}

/** The blocks that the mask names, one after the other. */
export function packBlocks(unit: Uint8Array, stored: number): Uint8Array {
  const packed = Buffer.alloc(countBlocks(stored) * blockSizeBytes);
  copyBlocks(unit, stored, packed);
  return packed;
}

function copyBlocks(unit: Uint8Array, stored: number, into: Uint8Array): void {
  for (let block = 0, to = 0; block < blocksPerUnit; block++) {
    if ((stored & (1 << block)) === 0) continue;
    const at = block * blockSizeBytes;
    into.set(unit.subarray(at, at + blockSizeBytes), to);
    to += blockSizeBytes;
  }
}

/** Puts what was read of a slice where the unit has it; blocks that are not live are left alone. */
export function placeSlice(
  slice: { stored: number; live: number },
  bytes: Uint8Array,
  unit: Uint8Array,
): void {
  for (let block = 0, from = 0; block < blocksPerUnit; block++) {
    if ((slice.stored & (1 << block)) === 0) continue;
    if ((slice.live & (1 << block)) !== 0) {
      unit.set(bytes.subarray(from, from + blockSizeBytes), block * blockSizeBytes);
    }
    from += blockSizeBytes;
  }
}

/** The slice that is all of the unit's content, just as it is stored; null when several are, or not all of one. */
export function wholeSliceOf(layout: UnitLayout): Slice | null {
  const [slice] = layout;
  return layout.length === 1 && slice?.live === everyBlock && slice.stored === everyBlock
    ? slice
    : null;
}

/** Which bytes of the object hold the slice. */
export function sliceRange(slice: SlicePlace): { offsetBytes: number; lengthBytes: number } {
  return {
    offsetBytes: slice.offsetBlocks * blockSizeBytes,
    lengthBytes: countBlocks(slice.stored) * blockSizeBytes,
  };
}

/**
 * Checks what was read of a segment at `sliceRange` before anybody sees it.
 * @throws SpriteError storage_failure: a missing or damaged slice is never read as zeros
 */
export function verifySlice(slice: SlicePlace, bytes: Uint8Array | null, key: string): Uint8Array {
  const { lengthBytes } = sliceRange(slice);
  if (bytes === null) throw new SpriteError("storage_failure", `segment ${key} is missing`);
  if (bytes.length !== lengthBytes) {
    throw new SpriteError(
      "storage_failure",
      `segment ${key} is too short: ${bytes.length} of ${lengthBytes} bytes`,
    );
  }
  if (crc32(bytes) !== slice.check) {
    throw new SpriteError(
      "storage_failure",
      `segment ${key} is damaged at block ${slice.offsetBlocks}: the checksum does not match`,
    );
  }
  return bytes;
}
