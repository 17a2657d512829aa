import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { describe, it } from "node:test";
import type { BlockMap } from "./block-map.ts";
import { checkpoint, makeMap, write } from "./testing/map-rig.ts";

const logSizeBytes = (map: BlockMap): number => statSync(`${map.path}-wal`).size;

/** Every page that reaches the log of the database goes to the bucket. */
describe("a block map that says nothing new", () => {
  it("writes no page", (test) => {
    const map = makeMap(test, { now: () => 5_000 });
    write(map, [1]);
    const id = checkpoint(map);
    write(map, [1]);
    map.restore(id);
    map.markFormatted();
    map.setAttribute("name", "value");
    map.setHealth(id, "mount_failed");
    const before = logSizeBytes(map);
    for (let turn = 0; turn < 200; turn++) map.allocateSegment();
    map.markFormatted();
    map.setAttribute("name", "value");
    map.setHealth(id, "mount_failed");
    const garbage = map.takeGarbage({ olderThanMs: 0, syncedCut: map.lastCut + 1 });
    assert.equal(garbage.length, 1);
    map.markDeleted(garbage.map(({ id: segment }) => segment));
    assert.deepEqual(map.expirePreRestore(0), []);
    map.listCheckpoints();
    assert.equal(logSizeBytes(map), before);
  });

  it("forgets what was deleted with the next change", (test) => {
    const map = makeMap(test);
    const first = write(map, [1]);
    const second = write(map, [1]);
    const take = (): number[] =>
      map.takeGarbage({ olderThanMs: 0, syncedCut: map.lastCut }).map(({ id }) => id);
    assert.deepEqual(take(), [first]);
    map.markDeleted([first, second]);
    assert.deepEqual(take(), []);
    assert.equal(map.statistics().garbageBytes, 0);
    assert.deepEqual(
      map.segments().map(({ id, isGarbage }) => [id, isGarbage]),
      [[second, false]],
    );
    assert.throws(() => write(map, [99_999]), "a change that fails takes nothing along");
    assert.deepEqual(take(), []);
    write(map, [2]);
    assert.deepEqual(map.segments().length, 2);
    assert.deepEqual(map.checkIntegrity(), []);
    assert.equal(map.segmentOwner(second), "");
    assert.throws(() => map.segmentKey(first), { name: "AssertionError" });
  });
});
