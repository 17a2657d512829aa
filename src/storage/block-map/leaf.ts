import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { everyBlock, unitsPerLeaf } from "./geometry.ts";
import type { Slice, UnitLayout } from "./types.ts";

/**
 * A leaf: the layouts of the 256 units of one 16 MiB stretch of a file, one entry a unit, in order
 * (docs/formats/block-map.md). An entry is a byte 0, when the unit is not mapped, or its slices:
 *
 * | offset | size | field                                          |
 * |      0 |    1 | flags, below                                   |
 * |      1 |    4 | segment, u32 little-endian, not 0              |
 * |      5 |    2 | offsetBlocks                                   |
 * |      7 |    4 | check                                          |
 * |     11 |    2 | stored, if the flag `partial` is set           |
 * |      … |    2 | live, if the flag `shadowed` is set            |
 *
 * Nothing in an entry depends on its neighbours, so that changing one unit moves bytes and decodes nothing.
 */
const flag = {
  /** Always set in a slice. */
  mapped: 1,
  /** Another slice of the same unit follows. */
  more: 2,
  /** Not all 16 blocks are stored. */
  partial: 4,
  /** Not all that is stored is live. */
  shadowed: 8,
} as const;
const knownFlags = flag.mapped | flag.more | flag.partial | flag.shadowed;

const sliceSizeBytesMin = 11;
export const segmentIdMax = 0xffff_ffff;
export const offsetBlocksMax = 0xffff;
/** Slices of one unit: at least one block of each is live. */
const slicesMax = 16;

export class Leaf {
  /** What is stored in the map. Entries at the end that map nothing are left out: an empty leaf has no bytes. */
  readonly data: Buffer;
  /** Where each unit's entry begins, and at last where the data ends. */
  readonly #starts: Uint16Array;

  /** @throws SpriteError storage_failure: damaged */
  constructor(data: Uint8Array) {
    this.data = Buffer.from(data.buffer, data.byteOffset, data.length);
    this.#starts = entryStarts(this.data);
  }

  static empty(): Leaf {
    return new Leaf(Buffer.alloc(0));
  }

  get isEmpty(): boolean {
    return this.data.length === 0;
  }

  isMapped(index: number): boolean {
    const start = this.#start(index);
    return start < this.#start(index + 1) && this.data[start] !== 0;
  }

  /** @throws SpriteError storage_failure: damaged */
  layout(index: number): UnitLayout | null {
    if (!this.isMapped(index)) return null;
    const slices: Slice[] = [];
    let claimed = 0;
    for (let at = this.#start(index), end = this.#start(index + 1); at < end;) {
      const slice = readSlice(this.data, at);
      if ((claimed & slice.live) !== 0) throw damaged("a block is live in two slices");
      claimed |= slice.live;
      slices.push(slice);
      at += sliceSizeBytes(this.data[at] ?? 0);
    }
    return slices;
  }

  /** True when the unit has the same layout in both. */
  isSameEntry(other: Leaf, index: number): boolean {
    if (!this.isMapped(index) || !other.isMapped(index)) {
      return this.isMapped(index) === other.isMapped(index);
    }
    const [start, otherStart] = [this.#start(index), other.#start(index)];
    const length = this.#start(index + 1) - start;
    if (length !== other.#start(index + 1) - otherStart) return false;
    // A few bytes: a loop is faster than a call of Buffer.compare.
    for (let at = 0; at < length; at++) {
      if (this.data[start + at] !== other.data[otherStart + at]) return false;
    }
    return true;
  }

  /** Calls back with every slice: its unit's index, its segment, and the mask of its live blocks. */
  forEachSlice(visit: (index: number, segment: number, live: number) => void): void {
    for (let index = 0; index < unitsPerLeaf; index++) {
      for (let at = this.#start(index), end = this.#start(index + 1); at < end;) {
        const flags = this.data[at] ?? 0;
        if (flags !== 0) visit(index, this.data.readUInt32LE(at + 1), readLive(this.data, at));
        at += sliceSizeBytes(flags);
      }
    }
  }

  /** The leaf with other layouts for some units; `changes` goes by index, ascending. */
  with(changes: ReadonlyMap<number, UnitLayout | null>): Leaf {
    const parts: Uint8Array[] = [];
    let kept = 0;
    for (const [index, layout] of changes) {
      assert(index >= kept && index < unitsPerLeaf, "changes ascend within the leaf");
      parts.push(this.#entries(kept, index), encodeEntry(layout));
      kept = index + 1;
    }
    parts.push(this.#entries(kept, unitsPerLeaf));
    return new Leaf(withoutEmptyEnd(Buffer.concat(parts)));
  }

  /** The bytes of the entries `first` up to `end`; what was left out at the leaf's end is there again. */
  #entries(first: number, end: number): Uint8Array {
    const bytes = this.data.subarray(this.#start(first), this.#start(end));
    const missing = end - Math.max(first, Math.min(end, this.#storedEntries));
    return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
  }

  get #storedEntries(): number {
    return this.#starts.length - 1;
  }

  #start(index: number): number {
    return this.#starts[Math.min(index, this.#storedEntries)] ?? 0;
  }
}

/** Also finds out whether the data can be walked at all; what a slice says is checked when it is read. */
function entryStarts(data: Buffer): Uint16Array {
  const starts = new Uint16Array(unitsPerLeaf + 1);
  let count = 0;
  let slices = 0;
  for (let at = 0; at < data.length;) {
    const flags = data[at] ?? 0;
    const isSlice = (flags & flag.mapped) !== 0;
    if ((flags & ~knownFlags) !== 0 || (flags !== 0 && !isSlice)) throw damaged("its flags");
    if (slices === 0) {
      if (count === unitsPerLeaf) throw damaged("it has too many entries");
      starts[count++] = at;
    } else if (!isSlice || slices === slicesMax) {
      throw damaged("an entry does not end");
    }
    slices = (flags & flag.more) === 0 ? 0 : slices + 1;
    at += sliceSizeBytes(flags);
    if (at > data.length) throw damaged("it is cut off");
  }
  if (slices !== 0) throw damaged("it is cut off");
  starts[count] = data.length;
  return starts.subarray(0, count + 1);
}

function sliceSizeBytes(flags: number): number {
  if (flags === 0) return 1;
  const masks = ((flags & flag.partial) >> 2) + ((flags & flag.shadowed) >> 3);
  return sliceSizeBytesMin + 2 * masks;
}

function readLive(data: Buffer, at: number): number {
  const flags = data[at] ?? 0;
  const isPartial = (flags & flag.partial) !== 0;
  const isShadowed = (flags & flag.shadowed) !== 0;
  if (!isPartial && !isShadowed) return everyBlock;
  return data.readUInt16LE(at + sliceSizeBytesMin + (isPartial && isShadowed ? 2 : 0));
}

function readSlice(data: Buffer, at: number): Slice {
  const isPartial = ((data[at] ?? 0) & flag.partial) !== 0;
  const stored = isPartial ? data.readUInt16LE(at + sliceSizeBytesMin) : everyBlock;
  const live = readLive(data, at);
  const segment = data.readUInt32LE(at + 1);
  if (segment === 0) throw damaged("a slice has no segment");
  if (live === 0 || (live & ~stored) !== 0) throw damaged("a slice has no sensible blocks");
  const offsetBlocks = data.readUInt16LE(at + 5);
  return { segment, offsetBlocks, stored, live, check: data.readUInt32LE(at + 7) };
}

function encodeEntry(layout: UnitLayout | null): Buffer {
  if (layout === null) return Buffer.alloc(1);
  assert(layout.length > 0 && layout.length <= slicesMax, "a layout has slices");
  const entry = Buffer.alloc(layout.length * (sliceSizeBytesMin + 4));
  let at = 0;
  for (const [position, { segment, offsetBlocks, stored, live, check }] of layout.entries()) {
    assert(segment >= 1 && segment <= segmentIdMax, "segment id is in range");
    assert(offsetBlocks >= 0 && offsetBlocks <= offsetBlocksMax, "slice offset is in range");
    assert(stored > 0 && stored <= everyBlock, "a slice stores blocks of the unit");
    assert(live > 0 && (live & ~stored) === 0, "live blocks are stored");
    const isPartial = stored !== everyBlock;
    const isShadowed = live !== stored;
    entry[at] =
      flag.mapped |
      (position < layout.length - 1 ? flag.more : 0) |
      (isPartial ? flag.partial : 0) |
      (isShadowed ? flag.shadowed : 0);
    entry.writeUInt32LE(segment, at + 1);
    entry.writeUInt16LE(offsetBlocks, at + 5);
    entry.writeUInt32LE(check, at + 7);
    at += sliceSizeBytesMin;
    if (isPartial) at = entry.writeUInt16LE(stored, at);
    if (isShadowed) at = entry.writeUInt16LE(live, at);
  }
  return entry.subarray(0, at);
}

/** An unmapped entry at the end is the one entry that ends in its own first byte, 0. */
function withoutEmptyEnd(data: Buffer): Buffer {
  const starts = entryStarts(data);
  let count = starts.length - 1;
  while (count > 0 && data[starts[count - 1] ?? 0] === 0) count--;
  return data.subarray(0, starts[count]);
}

function damaged(reason: string): SpriteError {
  return new SpriteError("storage_failure", `a leaf of the block map is damaged: ${reason}`);
}
