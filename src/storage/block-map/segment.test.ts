import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "node:zlib";
import { unitSizeBytes } from "./geometry.ts";
import {
  nonZeroBlocks,
  placeSlice,
  SegmentWriter,
  sliceRange,
  verifySegmentHeader,
  verifySlice,
  type SlicePlace,
} from "./segment.ts";

const unitOf = (value: number): Buffer => Buffer.alloc(unitSizeBytes, value);
const blocks = (count: number, value: number): Buffer => Buffer.alloc(count * 4_096, value);
const cut = (object: Uint8Array, place: SlicePlace): Uint8Array => {
  const { offsetBytes, lengthBytes } = sliceRange(place);
  return object.subarray(offsetBytes, offsetBytes + lengthBytes);
};

describe("segment", () => {
  it("has the header that docs/formats/segment.md shows", () => {
    const writer = new SegmentWriter();
    const place = writer.append(unitOf(0x61), 1);
    assert.deepEqual(place, { offsetBlocks: 1, stored: 1, check: 0x9c99dc73 });
    const object = Buffer.from(writer.finish());
    assert.equal(object.length, 8_192);
    const header =
      "4f535345474d4e54" + "01000000" + "00000000" + "00100000" + "02000000" + "00".repeat(36);
    assert.equal(object.toString("hex", 0, 64), header + "0151c3f6");
  });

  it("gives back each slice at a multiple of 4 KiB", () => {
    const writer = new SegmentWriter();
    const first = writer.append(unitOf(1), 0xffff);
    const second = writer.append(unitOf(2), 0x8005);
    const object = writer.finish();
    assert.equal(second.offsetBlocks, 17);
    assert.ok(blocks(16, 1).equals(verifySlice(first, cut(object, first), "key")));
    assert.ok(blocks(3, 2).equals(verifySlice(second, cut(object, second), "key")));
  });

  it("knows when it is full", () => {
    const writer = new SegmentWriter({ sizeBytesMax: 4_096 + unitSizeBytes });
    assert.equal(writer.isEmpty, true);
    assert.equal(writer.hasRoom(16), true);
    writer.append(unitOf(1), 0x7fff);
    assert.equal(writer.hasRoom(2), false);
    assert.equal(writer.hasRoom(1), true);
    assert.throws(() => writer.append(unitOf(1), 3), { name: "AssertionError" });
    assert.equal(writer.sizeBytes, 16 * 4_096);
    writer.finish();
    assert.throws(() => writer.append(unitOf(1), 1), { name: "AssertionError" });
  });

  it("stores no zeros", () => {
    const unit = Buffer.alloc(unitSizeBytes);
    assert.equal(nonZeroBlocks(unit, 0xffff), 0);
    unit[5 * 4_096] = 1;
    unit[unitSizeBytes - 1] = 1;
    assert.equal(nonZeroBlocks(unit, 0xffff), 0x8020);
    assert.equal(nonZeroBlocks(unit, 0x00ff), 0x20, "only those that were asked for");
  });

  it("stores the blocks of a mask next to each other, and puts the live ones back", () => {
    const unit = Buffer.alloc(unitSizeBytes);
    for (let block = 0; block < 16; block++)
      unit.fill(block + 1, block * 4_096, (block + 1) * 4_096);
    const writer = new SegmentWriter();
    const place = writer.append(unit, 0b1001_0010);
    const bytes = cut(writer.finish(), place);
    assert.deepEqual([bytes[0], bytes[4_096], bytes[8_192], bytes.length], [2, 5, 8, 3 * 4_096]);
    const into = unitOf(0xee);
    placeSlice({ ...place, live: 0b1000_0010 }, bytes, into);
    const found = Array.from({ length: 16 }, (_, block) => into[block * 4_096]);
    const untouched = Array.from({ length: 8 }, () => 0xee);
    assert.deepEqual(found, [0xee, 2, 0xee, 0xee, 0xee, 0xee, 0xee, 8, ...untouched]);
  });

  it("knows its own header, and refuses any other", () => {
    const writer = new SegmentWriter();
    writer.append(unitOf(1), 3);
    const object = Buffer.from(writer.finish());
    verifySegmentHeader(object, object.length, "k");
    const refuses = (bytes: Uint8Array, message: RegExp): void =>
      assert.throws(() => verifySegmentHeader(bytes, object.length, "k"), {
        code: "storage_failure",
        message,
      });
    for (let offset = 0; offset < 64; offset++) {
      const damaged = Buffer.from(object);
      damaged[offset] = (damaged[offset] ?? 0) ^ 1;
      refuses(damaged, /damaged/);
    }
    refuses(object.subarray(0, 63), /no header/);
    assert.throws(() => verifySegmentHeader(object, object.length - 4_096, "k"), /cut off/);
    const other = Buffer.from(object);
    other.writeUInt32LE(1, 12);
    other.writeUInt32LE(crc32(other.subarray(0, 60)), 60);
    refuses(other, /format 1 with codec 1, which is unknown/);
  });

  it("reports missing, short and damaged slices", () => {
    const writer = new SegmentWriter();
    const place = writer.append(unitOf(9), 0x30);
    const bytes = Buffer.from(cut(writer.finish(), place));
    const expected = (message: RegExp): object => ({ code: "storage_failure", message });
    assert.throws(() => verifySlice(place, null, "k"), expected(/k is missing/));
    assert.throws(() => verifySlice(place, bytes.subarray(1), "k"), expected(/too short/));
    bytes[4_095] = 8;
    assert.throws(() => verifySlice(place, bytes, "k"), expected(/damaged at block 1/));
  });
});
