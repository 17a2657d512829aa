import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BlockMap } from "./block-map.ts";
import { unitSizeBytes } from "./geometry.ts";
import { checkpoint, makeMap, write } from "./testing/map-rig.ts";

const unique = (map: BlockMap, id: string): number =>
  (map.getCheckpoint(id)?.uniqueBytes ?? -1) / unitSizeBytes;
const patch = (map: BlockMap, unit: number, blocks: number): void => {
  const segment = map.allocateSegment();
  const slice = { segment, offsetBlocks: 1, stored: blocks, check: 1 };
  const changes = new Map([[unit, { blocks, slice }]]);
  map.commitCut({ cut: map.lastCut + 1, changes, segments: [{ id: segment, sizeBytes: 8_192 }] });
};

describe("a checkpoint's record", () => {
  it("tells its size, its cut, and what only it holds", (test) => {
    const map = makeMap(test);
    write(map, [1, 2, 300]);
    checkpoint(map);
    const [record] = map.listCheckpoints();
    assert.deepEqual([record?.sizeBytes, record?.cut], [3 * unitSizeBytes, 2]);
    assert.equal(unique(map, "v0"), 0, "the live file has all of it too");
    write(map, [2, 3]);
    assert.equal(unique(map, "v0"), 1);
    checkpoint(map);
    write(map, [3, 300]);
    assert.deepEqual([unique(map, "v0"), unique(map, "v1")], [1, 1], "unit 300 is in both");
    map.restore("v0");
    assert.deepEqual([unique(map, "v0"), unique(map, "v1")], [0, 2]);
    map.deleteCheckpoint("v1");
    assert.equal(unique(map, "v0"), 0);
  });

  it("counts the blocks that were replaced, not their units", (test) => {
    const map = makeMap(test);
    write(map, [1]);
    checkpoint(map);
    patch(map, 1, 0x0003);
    assert.equal(unique(map, "v0"), 2 / 16);
    checkpoint(map);
    patch(map, 1, 0x0002);
    assert.deepEqual([unique(map, "v0"), unique(map, "v1")], [2 / 16, 1 / 16]);
  });

  it("counts what two descendants of a deleted checkpoint share", (test) => {
    const map = makeMap(test);
    checkpoint(map);
    write(map, [1]);
    checkpoint(map);
    write(map, [2]);
    checkpoint(map);
    map.restore("v1");
    write(map, [3]);
    checkpoint(map);
    map.restore("v0");
    map.deleteCheckpoint("v1");
    assert.deepEqual([unique(map, "v2"), unique(map, "v3")], [1, 1], "both have unit 1");
    map.deleteCheckpoint("v2");
    assert.equal(unique(map, "v3"), 2);
  });
});

describe("checkpoints that restores make", () => {
  it("are deleted when they are old, unless the live file descends from them; others are not", (test) => {
    let nowMs = 0;
    const map = makeMap(test, { now: () => nowMs });
    const before = (createTimeMs: number): string => {
      const request = { comment: "", isAuto: true, createTimeMs, isPreRestore: true };
      const cut = { cut: map.lastCut + 1, changes: new Map(), segments: [] };
      return map.commitCut({ ...cut, checkpoint: request })?.id ?? "";
    };
    checkpoint(map);
    checkpoint(map, true);
    const first = before(1_000);
    const second = before(2_000);
    const third = before(3_000);
    assert.deepEqual(
      [map.getCheckpoint(first)?.isPreRestore, map.getCheckpoint("v0")?.isPreRestore],
      [true, false],
    );
    nowMs = 101_999;
    assert.deepEqual(map.expirePreRestore(100_000), [first]);
    nowMs = 1e12;
    assert.deepEqual(map.expirePreRestore(100_000), [second], "the disk descends from the third");
    map.restore("v0");
    assert.deepEqual(map.expirePreRestore(100_000), [third]);
    assert.deepEqual(map.expirePreRestore(100_000), []);
    assert.equal(map.listCheckpoints().length, 2);
    assert.deepEqual(map.checkIntegrity(), []);
  });
});
