import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { unitSizeBytes } from "./geometry.ts";
import { SegmentWriter, sliceRange, storedPart, verifySlice, type SlicePlace } from "./segment.ts";

const blocks = (count: number, value: number): Buffer => Buffer.alloc(count * 4_096, value);
const cut = (object: Uint8Array, place: SlicePlace): Uint8Array => {
  const { offsetBytes, lengthBytes } = sliceRange(place);
  return object.subarray(offsetBytes, offsetBytes + lengthBytes);
};

describe("segment", () => {
  it("has the header that docs/formats/segment.md shows", () => {
    const writer = new SegmentWriter();
    const place = writer.append(blocks(1, 0x61));
    assert.deepEqual(place, { offsetBlocks: 1, lengthBlocks: 1, check: 0x9c99dc73 });
    const object = Buffer.from(writer.finish());
    assert.equal(object.length, 8_192);
    const header =
      "4f535345474d4e54" + "01000000" + "00000000" + "00100000" + "02000000" + "00".repeat(36);
    assert.equal(object.toString("hex", 0, 64), header + "0151c3f6");
  });

  it("gives back each slice at a multiple of 4 KiB", () => {
    const writer = new SegmentWriter();
    const first = writer.append(blocks(16, 1));
    const second = writer.append(blocks(3, 2));
    const object = writer.finish();
    assert.equal(second.offsetBlocks, 17);
    assert.ok(blocks(16, 1).equals(verifySlice(first, cut(object, first), "key")));
    assert.ok(blocks(3, 2).equals(verifySlice(second, cut(object, second), "key")));
  });

  it("knows when it is full", () => {
    const writer = new SegmentWriter({ sizeBytesMax: 4_096 + unitSizeBytes });
    assert.equal(writer.isEmpty, true);
    assert.equal(writer.hasRoom(unitSizeBytes), true);
    writer.append(blocks(15, 1));
    assert.equal(writer.hasRoom(8_192), false);
    assert.equal(writer.hasRoom(4_096), true);
    assert.throws(() => writer.append(blocks(2, 1)), { name: "AssertionError" });
    assert.equal(writer.sizeBytes, 16 * 4_096);
    writer.finish();
    assert.throws(() => writer.append(blocks(1, 1)), { name: "AssertionError" });
  });

  it("stores no zeros at the end of a unit", () => {
    const unit = Buffer.alloc(unitSizeBytes);
    assert.equal(storedPart(unit).length, 0);
    unit[5 * 4_096] = 1;
    assert.equal(storedPart(unit).length, 6 * 4_096);
    unit[unitSizeBytes - 1] = 1;
    assert.equal(storedPart(unit).length, unitSizeBytes);
  });

  it("reports missing, short and damaged slices", () => {
    const writer = new SegmentWriter();
    const place = writer.append(blocks(2, 9));
    const bytes = Buffer.from(cut(writer.finish(), place));
    const expected = (message: RegExp): object => ({ code: "storage_failure", message });
    assert.throws(() => verifySlice(place, null, "k"), expected(/k is missing/));
    assert.throws(() => verifySlice(place, bytes.subarray(1), "k"), expected(/too short/));
    bytes[4_095] = 8;
    assert.throws(() => verifySlice(place, bytes, "k"), expected(/damaged at block 1/));
  });
});
