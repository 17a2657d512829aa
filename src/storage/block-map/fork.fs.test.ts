import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { describe, it, type TestContext } from "node:test";
import { BlockMap } from "./block-map.ts";
import { unitSizeBytes } from "./geometry.ts";
import { checkpoint, makePath, segmentOf, sizeBytes, write } from "./testing/map-rig.ts";

const owner = "sprites/source";

/** A source with a checkpoint of units 1 and 2, and unit 1 overwritten since. */
function makeSource(test: TestContext): { path: string; first: number; second: number } {
  const path = makePath(test);
  const source = BlockMap.create(path, { sizeBytes });
  const first = write(source, [1, 2]);
  checkpoint(source);
  const second = write(source, [1]);
  source.markFormatted();
  source.setAttribute("volume.cacheId", "of the source");
  source.close();
  return { path, first, second };
}

function fork(test: TestContext, path: string, fromCheckpoint: string | null): BlockMap {
  const copy = `${path}.fork`;
  copyFileSync(path, copy);
  BlockMap.makeFork(copy, { fromCheckpoint, owner });
  const map = BlockMap.open(copy);
  test.after(() => map.close());
  return map;
}

describe("a fork's map", () => {
  it("has the live file's content, in segments of the source, and nothing else of it", (test) => {
    const { path, first, second } = makeSource(test);
    const map = fork(test, path, null);
    assert.deepEqual([segmentOf(map, 1), segmentOf(map, 2)], [second, first]);
    assert.deepEqual(map.foreignSegments(), [{ owner, ids: [first, second], sizeBytes: 2_000 }]);
    assert.deepEqual(map.segments(), []);
    assert.deepEqual(map.listCheckpoints(), []);
    assert.equal(map.sourceId, null);
    assert.equal(map.formatted, true);
    assert.equal(map.getAttribute("volume.cacheId"), null);
    assert.equal(map.segmentOwner(first), owner);
    const usedBytes = 2 * unitSizeBytes;
    const expected = { usedBytes, bucketBytes: 0, garbageBytes: 0, foreignBytes: 2_000 };
    assert.deepEqual(map.statistics(), expected);
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("begins with a checkpoint, if one is named", (test) => {
    const { path, first } = makeSource(test);
    const map = fork(test, path, "v0");
    assert.deepEqual([segmentOf(map, 1), segmentOf(map, 2)], [first, first]);
    assert.deepEqual(map.foreignSegments(), [{ owner, ids: [first], sizeBytes: 1_000 }]);
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("is not made from a checkpoint that is not there; the copy stays as it was", (test) => {
    const { path } = makeSource(test);
    assert.throws(() => BlockMap.makeFork(path, { fromCheckpoint: "v7", owner }), {
      code: "not_found",
    });
    const map = BlockMap.open(path);
    test.after(() => map.close());
    assert.equal(map.listCheckpoints().length, 1);
    assert.deepEqual(map.foreignSegments(), []);
  });

  it("never hands a foreign segment out for deletion, and forgets it when it is overwritten", (test) => {
    const { path, first, second } = makeSource(test);
    const map = fork(test, path, null);
    const own = write(map, [1]);
    assert.ok(own > second, "numbers go on behind those of the source");
    assert.deepEqual([map.segmentOwner(own), map.segmentOwner(first)], ["", owner]);
    assert.deepEqual(map.takeGarbage({ olderThanMs: 0, syncedCut: 99 }), []);
    assert.deepEqual(map.foreignSegments(), [{ owner, ids: [first], sizeBytes: 1_000 }]);
    write(map, [1, 2]);
    assert.deepEqual(map.foreignSegments(), []);
    const garbage = map.takeGarbage({ olderThanMs: 0, syncedCut: 99 });
    assert.deepEqual(
      garbage.map(({ id }) => id),
      [own],
    );
    assert.equal(map.statistics().foreignBytes, 0);
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("keeps what a checkpoint of its own holds, and the owners of a fork of a fork", (test) => {
    const { path, first, second } = makeSource(test);
    const map = fork(test, path, null);
    checkpoint(map);
    const own = write(map, [1, 2]);
    assert.deepEqual(map.foreignSegments()[0]?.ids, [first, second]);
    map.close();
    const copy = `${path}.fork`;
    BlockMap.makeFork(copy, { fromCheckpoint: "v0", owner: "sprites/fork" });
    const grandchild = BlockMap.open(copy);
    assert.deepEqual(grandchild.foreignSegments(), [
      { owner, ids: [first, second], sizeBytes: 2_000 },
    ]);
    write(grandchild, [1]);
    grandchild.close();
    BlockMap.makeFork(copy, { fromCheckpoint: null, owner: "sprites/grandchild" });
    const last = BlockMap.open(copy);
    test.after(() => last.close());
    assert.deepEqual(
      last.foreignSegments().map(({ owner: of, ids }) => [of, ids]),
      [
        ["sprites/grandchild", [own + 1]],
        [owner, [first]],
      ],
    );
    assert.deepEqual(last.checkIntegrity(), []);
  });
});
