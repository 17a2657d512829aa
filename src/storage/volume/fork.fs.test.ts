import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { systemClock } from "../lease/clock.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { destroyVolume, finishDestroyed } from "./destroy.ts";
import { VolumeEngine } from "./engine.ts";
import { putMarker, putOrigin } from "./fork-markers.ts";
import { forkVolume } from "./fork.ts";

let directory = "";
let store: ObjectStore;
let skewMs = 0;
const clock = { ...systemClock, nowMs: () => Date.now() + skewMs };

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-fork-"));
  store = await DirectoryObjectStore.open(join(directory, "bucket"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(name: string): Promise<VolumeEngine> {
  return VolumeEngine.open({
    store,
    prefix: `sprites/${name}`,
    cacheDirectory: join(directory, "cache", name),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 64 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 5,
    onProblem: () => undefined,
    retryMsMin: 5,
    retentionMs: 0,
    clock,
  });
}

function fork(from: string, to: string, checkpoint: string | null = null): Promise<void> {
  return forkVolume({
    store,
    from: `sprites/${from}`,
    to: `sprites/${to}`,
    forkId: to,
    checkpoint,
    scratchDirectory: join(directory, "scratch"),
  });
}

/** Forgets the cache, so that all comes from the bucket. */
async function readCold(name: string): Promise<number[]> {
  rmSync(join(directory, "cache", name), { recursive: true, force: true });
  const engine = await open(name);
  const bytes = await engine.live.read(0, 4 * unitSizeBytes);
  await engine.close({ discard: false });
  return [0, 1, 2, 3].map((unit) => bytes[unit * unitSizeBytes] ?? -1);
}

async function write(engine: VolumeEngine, unit: number, value: number): Promise<void> {
  await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, value));
  await engine.sync();
}

async function keys(prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found;
}

async function eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, what);
    await delay(20);
  }
}

test("a fork begins as its source and both go their own ways, whatever the other deletes", async () => {
  const source = await open("source");
  for (const unit of [0, 1, 2]) await write(source, unit, 10 + unit);
  await fork("source", "fork");
  const before = await keys("sprites/source/data/");
  // The source gives up all that it shares, and collects its garbage at once.
  await source.live.punch(0, 64 * unitSizeBytes);
  await write(source, 3, 98);
  const own = (await keys("sprites/source/data/")).filter((key) => !before.includes(key));
  await write(source, 3, 99);
  const late = await open("fork");
  await write(late, 1, 77);
  await late.close({ discard: false });
  await eventually(async () => {
    skewMs += 120_000;
    await write(source, 4, 1);
    const left = await keys("sprites/source/data/");
    assert.deepEqual(
      left.filter((key) => before.includes(key)),
      before,
      "the shared ones stay",
    );
    return !own.some((key) => left.includes(key));
  }, "what is not shared is collected");
  assert.deepEqual(await readCold("fork"), [10, 77, 12, 0]);
  await source.close({ discard: false });
  assert.deepEqual(await readCold("source"), [0, 0, 0, 99]);
});

test("a fork of a checkpoint has that state, and no checkpoints", async () => {
  const source = await open("source");
  await write(source, 0, 1);
  const { id } = await (await source.beginCheckpoint({ comment: "", isAuto: false })).completed;
  await write(source, 0, 2);
  await fork("source", "fork", id);
  await assert.rejects(fork("source", "other", "nothing"), { code: "not_found" });
  assert.deepEqual(await keys("sprites/other/"), [], "a fork that fails leaves nothing");
  assert.deepEqual(await readCold("fork"), [1, 0, 0, 0]);
  const engine = await open("fork");
  assert.deepEqual(engine.listCheckpoints(), []);
  await engine.close({ discard: false });
  await source.close({ discard: false });
  await assert.rejects(fork("source", "fork"), { code: "already_exists" });
});

test("a destroyed source keeps what its forks need, and goes with the last of them", async () => {
  const source = await open("source");
  for (const unit of [0, 1]) await write(source, unit, 10 + unit);
  await fork("source", "one");
  await write(source, 2, 12);
  await fork("source", "two");
  await write(source, 3, 13);
  await source.close({ discard: false });
  const all = (await keys("sprites/source/data/")).length;
  await destroyVolume({ store, prefix: "sprites/source" });
  assert.equal((await keys("sprites/source/data/")).length, all - 1);
  assert.deepEqual(await keys("sprites/source/meta/"), []);
  assert.deepEqual(await readCold("one"), [10, 11, 0, 0]);
  await destroyVolume({ store, prefix: "sprites/two" });
  assert.deepEqual(await keys("sprites/two/"), []);
  assert.equal((await keys("sprites/source/data/")).length, all - 2);
  assert.deepEqual(await readCold("one"), [10, 11, 0, 0]);
  await destroyVolume({ store, prefix: "sprites/one" });
  assert.deepEqual(await keys("sprites/"), []);
});

test("a fork of a fork needs both of its ancestors", async () => {
  const source = await open("source");
  await write(source, 0, 1);
  await source.close({ discard: false });
  await fork("source", "child");
  const child = await open("child");
  await write(child, 1, 2);
  await child.close({ discard: false });
  await fork("child", "grandchild");
  await destroyVolume({ store, prefix: "sprites/child" });
  await destroyVolume({ store, prefix: "sprites/source" });
  assert.deepEqual(await readCold("grandchild"), [1, 2, 0, 0]);
  await destroyVolume({ store, prefix: "sprites/grandchild" });
  assert.deepEqual(await keys("sprites/"), []);
});

test("volumes that say they were made of each other can be destroyed all the same", async () => {
  const [left, right] = ["sprites/left", "sprites/right"] as const;
  await putOrigin(store, left, { forkId: "left", owners: [right, left] });
  await putOrigin(store, right, { forkId: "right", owners: [left] });
  await destroyVolume({ store, prefix: left });
  await destroyVolume({ store, prefix: right });
  assert.deepEqual(await keys("sprites/"), []);
});

test("a source that is destroyed while a fork is being made keeps all until the fork knows its needs", async () => {
  const source = await open("source");
  await write(source, 0, 1);
  await source.close({ discard: false });
  const marker = { owner: "sprites/source", forkId: "slow", fork: "sprites/slow" };
  await putMarker(store, { ...marker, segments: "all" });
  const before = (await keys("sprites/source/")).filter((key) => !key.endsWith("/tombstone.json"));
  await destroyVolume({ store, prefix: "sprites/source" });
  const after = (await keys("sprites/source/")).filter((key) => !key.endsWith("/tombstone.json"));
  assert.deepEqual(after, before);
  await assert.rejects(fork("source", "late"), { code: "not_found" });
  await putMarker(store, { ...marker, segments: [] });
  await finishDestroyed({ store, prefix: "sprites/source" });
  assert.deepEqual(await keys("sprites/source/data/"), []);
});
