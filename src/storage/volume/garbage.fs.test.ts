import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { putMarker } from "./fork-markers.ts";
import { Garbage } from "./garbage.ts";

const prefix = "sprites/test";

/** A map with so many segments that hold nothing any more. */
function withGarbage(path: string, options: { count: number; nowMs: () => number }): BlockMap {
  const map = BlockMap.create(path, { sizeBytes: unitSizeBytes, now: options.nowMs });
  const segments = Array.from({ length: options.count }, () => ({
    id: map.allocateSegment(),
    sizeBytes: 4_096,
  }));
  map.commitCut({ cut: 1, changes: new Map(), segments });
  return map;
}

test("garbage goes a grace time after the bucket knows of it, whatever forks pin before it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-garbage-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  let nowMs = 1_000_000;
  const store = new MemoryObjectStore();
  const map = withGarbage(join(directory, "map.db"), { count: 2_500, nowMs: () => nowMs });
  t.after(() => map.close());
  const keys = map.segments().map(({ key }) => key);
  for (const key of keys) await store.put(`${prefix}/${key}`, Buffer.alloc(1));
  const pinned = keys.slice(0, 2_400);
  const fork = { owner: prefix, forkId: "f", fork: "sprites/f" };
  await putMarker(store, { ...fork, segments: pinned });
  const garbage = new Garbage({ store, prefix, map, graceMs: 100_000, nowMs: () => nowMs });
  const { signal } = new AbortController();

  nowMs += 500_000;
  assert.equal(await garbage.collect(signal), 0, "the bucket still names it");
  garbage.synced(1);
  nowMs += 90_000;
  assert.equal(await garbage.collect(signal), 0, "the bucket has known for less than the grace");
  nowMs += 90_000;
  assert.equal(await garbage.collect(signal), 100);
  const left = [...store.contents().keys()].filter((key) => key.includes("/data/"));
  assert.deepEqual(left.toSorted(), pinned.map((key) => `${prefix}/${key}`).toSorted());

  await putMarker(store, { ...fork, segments: "all" });
  nowMs += 90_000;
  assert.equal(await garbage.collect(signal), 0, "a fork is being made");
  await store.deleteMany([`${prefix}/forks/f.json`]);
  nowMs += 90_000;
  assert.equal(await garbage.collect(signal), 1_000);
});

test("a sweep says that it spared what a clock that is behind took for young", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-garbage-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const bucketMs = 10_000_000;
  const store = new MemoryObjectStore({ now: () => bucketMs });
  let nowMs = bucketMs - 600_000;
  const map = withGarbage(join(directory, "map.db"), { count: 1, nowMs: () => nowMs });
  t.after(() => map.close());
  const garbage = new Garbage({ store, prefix, map, graceMs: 100_000, nowMs: () => nowMs });
  const { signal } = new AbortController();
  for (const { key } of map.segments()) await store.put(`${prefix}/${key}`, Buffer.alloc(1));
  assert.equal(await garbage.sweep(signal), true, "the map knows all that there is");
  const leaving = `${prefix}/data/09/00000009-0123456789ab`;
  await store.put(leaving, Buffer.alloc(1));
  assert.equal(await garbage.sweep(signal), false);
  nowMs += 800_000;
  assert.equal(await garbage.sweep(signal), true);
  assert.ok(!store.contents().has(leaving));
});
