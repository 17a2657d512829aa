import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeLeaf, emptyLeaf, encodeLeaf, getEntry, sameEntry, setEntry } from "./leaf.ts";

const slice = { segment: 0x01020304, offsetBlocks: 0x0506, lengthBlocks: 16, check: 0xf1f2f3f4 };

describe("leaf", () => {
  it("has the bytes that docs/formats/block-map.md shows", () => {
    const leaf = emptyLeaf();
    setEntry(leaf, 1, slice);
    const hex = Buffer.from(encodeLeaf(leaf)).toString("hex");
    assert.equal(hex, "000000000000000000000000" + "04030201060510" + "00" + "f4f3f2f1");
  });

  it("gives back every entry and drops the empty end", () => {
    const leaf = emptyLeaf();
    setEntry(leaf, 0, { segment: 1, offsetBlocks: 1, lengthBlocks: 1, check: 0 });
    setEntry(leaf, 255, slice);
    assert.equal(encodeLeaf(leaf).length, 3_072);
    assert.deepEqual(getEntry(decodeLeaf(encodeLeaf(leaf)), 255), slice);
    setEntry(leaf, 255, null);
    assert.equal(encodeLeaf(leaf).length, 12);
    setEntry(leaf, 0, null);
    assert.equal(encodeLeaf(leaf).length, 0);
    assert.equal(getEntry(leaf, 7), null);
  });

  it("compares entries", () => {
    const [a, b] = [emptyLeaf(), emptyLeaf()];
    setEntry(a, 3, slice);
    assert.equal(sameEntry(a, b, 3), false);
    setEntry(b, 3, { ...slice });
    assert.equal(sameEntry(a, b, 3), true);
    setEntry(b, 3, { ...slice, offsetBlocks: 9 });
    assert.equal(sameEntry(a, b, 3), false);
  });

  it("refuses what no entry can hold", () => {
    const leaf = emptyLeaf();
    for (const wrong of [
      { segment: 0 },
      { segment: 2 ** 32 },
      { offsetBlocks: 65_536 },
      { lengthBlocks: 0 },
      { lengthBlocks: 17 },
    ]) {
      assert.throws(() => setEntry(leaf, 0, { ...slice, ...wrong }), { name: "AssertionError" });
    }
  });

  it("reports a damaged leaf", () => {
    const expected = { code: "storage_failure" };
    assert.throws(() => decodeLeaf(Buffer.alloc(13)), expected);
    assert.throws(() => decodeLeaf(Buffer.alloc(257 * 12)), expected);
    const leaf = emptyLeaf();
    setEntry(leaf, 0, slice);
    leaf[6] = 17;
    assert.throws(() => getEntry(leaf, 0), expected);
  });
});
