import { crc32 } from "node:zlib";
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { blockSizeBytes, unitSizeBytes } from "./geometry.ts";
import { offsetBlocksMax } from "./leaf.ts";
import type { Slice } from "./types.ts";

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
export type SlicePlace = Omit<Slice, "segment">;

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

  /** True when a slice of this many bytes can still be appended. */
  hasRoom(sizeBytes: number): boolean {
    return this.sizeBytes + sizeBytes <= this.#buffer.length;
  }

  /** Appends what `storedPart` left of a unit: 1 to 16 whole blocks. */
  append(bytes: Uint8Array): SlicePlace {
    assert(!this.#isFinished, "segment is being written");
    assert(bytes.length > 0 && bytes.length <= unitSizeBytes, "slice has 1 to 16 blocks");
    assert(bytes.length % blockSizeBytes === 0, "slice has whole blocks");
    assert(this.hasRoom(bytes.length), "segment has room");
    const offsetBlocks = this.#usedBlocks;
    this.#buffer.set(bytes, offsetBlocks * blockSizeBytes);
    const lengthBlocks = bytes.length / blockSizeBytes;
    this.#usedBlocks += lengthBlocks;
    return { offsetBlocks, lengthBlocks, check: crc32(bytes) };
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

/** The unit without the zero blocks at its end: what has to be stored. Empty when the unit is all zeros. */
export function storedPart(unit: Uint8Array): Uint8Array {
  assert(unit.length % blockSizeBytes === 0, "unit has whole blocks");
  let end = unit.length;
  while (end > 0 && zeroBlock.equals(unit.subarray(end - blockSizeBytes, end)))
    end -= blockSizeBytes;
  return unit.subarray(0, end);
}

/** Which bytes of the object hold the slice. */
export function sliceRange(slice: SlicePlace): { offsetBytes: number; lengthBytes: number } {
  return {
    offsetBytes: slice.offsetBlocks * blockSizeBytes,
    lengthBytes: slice.lengthBlocks * blockSizeBytes,
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
