import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { countBlocks } from "./block-mask.ts";
import { blocksToStore, changeLayout, isSameLayout, liveBlocks } from "./layout.ts";
import { slicesPerUnitMax } from "./limits.ts";
import type { NewSlice, Slice, UnitLayout } from "./types.ts";

const sliceOf = (segment: number, stored: number): NewSlice => ({
  segment,
  offsetBlocks: 1,
  stored,
  check: segment,
});
const write = (layout: UnitLayout | null, segment: number, stored: number): UnitLayout | null =>
  changeLayout(layout, { blocks: stored, slice: sliceOf(segment, stored) });
const places = (layout: UnitLayout | null): [number, number][] =>
  (layout ?? []).map(({ segment, live }) => [segment, live]);

describe("layout", () => {
  it("takes each block from where it was stored last", () => {
    let layout = write(null, 1, 0xffff);
    layout = write(layout, 2, 0x000f);
    layout = write(layout, 3, 0x0003);
    assert.deepEqual(places(layout), [
      [1, 0xfff0],
      [2, 0x000c],
      [3, 0x0003],
    ]);
    assert.equal(layout?.[1]?.stored, 0x000f, "what is stored stays, to find a block's place");
    layout = write(layout, 4, 0x00ff);
    assert.deepEqual(places(layout), [
      [1, 0xff00],
      [4, 0x00ff],
    ]);
  });

  it("makes blocks zeros without storing any", () => {
    const layout = changeLayout(write(null, 1, 0xffff), { blocks: 0x00f0, slice: null });
    assert.deepEqual(places(layout), [[1, 0xff0f]]);
    assert.equal(liveBlocks(layout), 0xff0f);
    assert.equal(changeLayout(layout, { blocks: 0xffff, slice: null }), null);
    const mixed = changeLayout(layout, { blocks: 0x000f, slice: sliceOf(2, 0x0005) });
    assert.deepEqual(places(mixed), [
      [1, 0xff00],
      [2, 0x0005],
    ]);
  });

  it("refuses to store what is not replaced", () => {
    for (const change of [
      { blocks: 0, slice: null },
      { blocks: 1, slice: sliceOf(1, 2) },
      { blocks: 1, slice: sliceOf(1, 0) },
    ]) {
      assert.throws(() => changeLayout(null, change), { name: "AssertionError" });
    }
  });

  it("tells layouts apart", () => {
    const layout = write(write(null, 1, 0xffff), 2, 1);
    assert.equal(isSameLayout(layout, write(write(null, 1, 0xffff), 2, 1)), true);
    assert.equal(isSameLayout(layout, write(write(null, 1, 0xffff), 2, 3)), false);
    assert.equal(isSameLayout(layout, write(null, 1, 0xffff)), false);
    assert.equal(isSameLayout(layout, null), false);
    assert.equal(isSameLayout(null, null), true);
  });

  it("counts blocks", () => {
    for (let mask = 0; mask <= 0xffff; mask++) {
      assert.equal(countBlocks(mask), mask.toString(2).replaceAll("0", "").length);
    }
  });
});

describe("what a cut stores of a unit", () => {
  const layout = write(null, 1, 0xffff);

  it("is what is dirty", () => {
    assert.equal(blocksToStore({ dirty: 0x0010, here: 0xffff, layout }), 0x0010);
    assert.equal(blocksToStore({ dirty: 0x7fff, here: 0x7fff, layout }), 0x7fff);
    assert.equal(blocksToStore({ dirty: 0x7fff, here: 0xffff, layout: null }), 0x7fff);
  });

  it("is the whole unit when half of it is dirty and all of it is here", () => {
    assert.equal(blocksToStore({ dirty: 0x00ff, here: 0xffff, layout }), 0xffff);
    assert.equal(blocksToStore({ dirty: 0x007f, here: 0xffff, layout }), 0x007f);
    assert.equal(blocksToStore({ dirty: 0x00ff, here: 0x0fff, layout }), 0x00ff);
  });

  it("is all that is here when the unit would be in too many pieces", () => {
    let pieces: readonly Slice[] | null = layout;
    for (let patch = 1; patch < slicesPerUnitMax; patch++) {
      assert.equal(blocksToStore({ dirty: 1 << patch, here: 0xffff, layout: pieces }), 1 << patch);
      pieces = write(pieces, 1 + patch, 1 << patch);
    }
    assert.equal(pieces?.length, slicesPerUnitMax);
    const fragmented = { layout: pieces };
    assert.equal(
      blocksToStore({ ...fragmented, dirty: 2, here: 0xffff }),
      2,
      "it replaces a piece",
    );
    assert.equal(blocksToStore({ ...fragmented, dirty: 0x8000, here: 0xffff }), 0xffff);
    assert.equal(blocksToStore({ ...fragmented, dirty: 0x8000, here: 0x8006 }), 0x8006);
    assert.equal(blocksToStore({ ...fragmented, dirty: 0x8000, here: 0x8000 }), 0x8000);
    const useless = { ...fragmented, dirty: 0x8000, here: 0xc000 };
    assert.equal(blocksToStore(useless), 0x8000, "what removes no piece is not worth its bytes");
  });
});
