import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Leaf } from "./leaf.ts";
import type { Slice, UnitLayout } from "./types.ts";

const whole: Slice = {
  segment: 0x01020304,
  offsetBlocks: 0x0506,
  stored: 0xffff,
  live: 0xffff,
  check: 0xf1f2f3f4,
};
const base: Slice = { ...whole, live: 0xfffd };
const patch: Slice = { segment: 9, offsetBlocks: 1, stored: 0x0002, live: 0x0002, check: 5 };
const shadowedPatch: Slice = { ...patch, stored: 0x0012, live: 0x0010 };

const leafOf = (...entries: [number, UnitLayout | null][]): Leaf =>
  Leaf.empty().with(new Map(entries));

describe("leaf", () => {
  it("has the bytes that docs/formats/block-map.md shows", () => {
    const leaf = leafOf([1, [whole]], [3, [base, patch]]);
    const unit1 = "01" + "04030201" + "0605" + "f4f3f2f1";
    const unit3 = "0b" + "04030201" + "0605" + "f4f3f2f1" + "fdff" + "05" + "09000000" + "0100";
    assert.equal(leaf.data.toString("hex"), "00" + unit1 + "00" + unit3 + "05000000" + "0200");
  });

  it("gives back every entry and drops the empty end", () => {
    const layouts: [number, UnitLayout][] = [
      [0, [patch]],
      [1, [base, patch]],
      [77, [whole]],
      [255, [{ ...base, live: 0xffed }, shadowedPatch, patch]],
    ];
    let leaf = leafOf(...layouts);
    const read = new Leaf(leaf.data);
    for (const [index, layout] of layouts) assert.deepEqual(read.layout(index), layout);
    assert.equal(read.layout(2), null);
    assert.equal(read.isMapped(2), false);
    assert.equal(read.isMapped(255), true);
    leaf = leaf.with(new Map([[255, null]]));
    assert.equal(leaf.layout(77)?.length, 1);
    assert.equal(leaf.data.at(-1), 0xf1, "the check of unit 77 ends it");
    leaf = leaf.with(new Map([...layouts.map(([index]) => [index, null] as const)]));
    assert.equal(leaf.isEmpty, true);
    assert.equal(leaf.layout(7), null);
  });

  it("changes, adds and removes entries anywhere, and leaves the old leaf alone", () => {
    const before = leafOf([0, [whole]], [5, [whole]], [9, [whole]]);
    const changes = new Map<number, UnitLayout | null>([
      [0, null],
      [3, [patch]],
      [5, [base, patch]],
      [200, [whole]],
    ]);
    const after = before.with(changes);
    for (const [index, layout] of changes) assert.deepEqual(after.layout(index), layout);
    assert.deepEqual(after.layout(9), [whole]);
    assert.deepEqual(before.layout(5), [whole]);
    assert.equal(before.isMapped(200), false);
  });

  it("a full one fits into a page", () => {
    const full = leafOf(
      ...Array.from({ length: 256 }, (_, unit) => [unit, [whole]] as [number, UnitLayout]),
    );
    assert.equal(full.data.length, 2_816);
  });

  it("compares entries", () => {
    const [a, b] = [leafOf([3, [base, patch]]), leafOf([2, [whole]], [3, [base, patch]])];
    assert.equal(a.isSameEntry(b, 3), true);
    assert.equal(a.isSameEntry(b, 2), false);
    assert.equal(b.isSameEntry(a, 2), false);
    assert.equal(a.isSameEntry(b, 200), true);
    assert.equal(a.isSameEntry(leafOf([3, [whole]]), 3), false);
  });

  it("visits every slice with its live blocks", () => {
    const visited: number[][] = [];
    leafOf([1, [base, patch]], [4, [whole]], [6, [shadowedPatch]]).forEachSlice((...slice) =>
      visited.push(slice),
    );
    assert.deepEqual(visited, [
      [1, whole.segment, 0xfffd],
      [1, 9, 2],
      [4, whole.segment, 0xffff],
      [6, 9, 0x10],
    ]);
  });

  it("refuses what no entry can hold", () => {
    for (const wrong of [
      { segment: 0 },
      { segment: 2 ** 32 },
      { offsetBlocks: 65_536 },
      { stored: 0 },
      { stored: 0x1_0000, live: 1 },
      { live: 0 },
      { stored: 1, live: 2 },
    ]) {
      assert.throws(() => leafOf([0, [{ ...whole, ...wrong }]]), { name: "AssertionError" });
    }
    const many = Array.from({ length: 17 }, () => patch);
    for (const layout of [[], many]) {
      assert.throws(() => leafOf([0, layout]), { name: "AssertionError" });
    }
  });

  it("reports a damaged leaf", () => {
    const expected = { code: "storage_failure" };
    const { data } = leafOf([1, [whole]], [3, [base, patch]]);
    const change = (offset: number, value: number): Buffer => {
      const damaged = Buffer.from(data);
      damaged[offset] = value;
      return damaged;
    };
    for (let length = 1; length < data.length; length++) {
      // Cut off between two entries it is a leaf with fewer units, which the segment counters tell.
      if (length === 1 || length === 12 || length === 13) continue;
      assert.throws(() => new Leaf(data.subarray(0, length)), expected, `${length} bytes`);
    }
    assert.throws(() => new Leaf(Buffer.alloc(257)), expected);
    assert.throws(() => new Leaf(change(1, 0x11)), expected, "a flag that we do not know");
    assert.throws(() => new Leaf(change(1, 0x02)), expected, "a slice that is none");
    const noSegment = change(2, 0).fill(0, 2, 6);
    assert.throws(() => new Leaf(noSegment).layout(1), expected);
    assert.throws(() => new Leaf(change(24, 0xff)).layout(3), expected, "a block is live twice");
  });
});
