import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { systemClock } from "../lease/clock.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import { VolumeEngine, type EngineOptions } from "./engine.ts";
import { importImage } from "./image.ts";
import { FaultyStore, seededRandom } from "./testing/faulty-store.ts";

const prefix = "sprites/test";
let directory = "";
let problems: (Error | null)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-engine-"));
  problems = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const cache = (): string => join(directory, "cache");
const bucket = (): string => join(directory, "bucket");

async function open(options: Partial<EngineOptions> = {}): Promise<VolumeEngine> {
  return VolumeEngine.open({
    store: await DirectoryObjectStore.open(bucket()),
    prefix,
    cacheDirectory: cache(),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 64 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 10,
    onProblem: (problem) => problems.push(problem),
    retryMsMin: 5,
    ...options,
  });
}

async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, what);
    await delay(5);
  }
}

const content = randomBytes(3 * unitSizeBytes);

test("local state is set aside when the bucket was written by another since", async () => {
  const first = await open();
  await first.live.write(0, content);
  await first.sync();
  await first.close({ discard: false });
  renameSync(cache(), `${cache()}-first`);

  const other = await open();
  await other.live.write(0, Buffer.alloc(content.length, 7));
  await other.close({ discard: false });
  rmSync(cache(), { recursive: true });
  renameSync(`${cache()}-first`, cache());

  const again = await open();
  assert.ok(Buffer.alloc(content.length, 7).equals(await again.live.read(0, content.length)));
  assert.match(String(problems.at(0)), /set aside/);
  assert.ok(readdirSync(cache()).some((name) => name.startsWith("orphan-")));
  await again.close({ discard: false });
});

test("a bucket that has lost the volume is an error, not a new volume", async () => {
  const engine = await open();
  await engine.close({ discard: false });
  rmSync(bucket(), { recursive: true });
  await assert.rejects(open(), { code: "storage_failure" });
});

test("a writer that was taken over stops, says so, and keeps what it had not stored", async () => {
  const engine = await open();
  await engine.live.write(0, content);
  await engine.sync();
  // On another machine, while this one is still at it.
  const other = await open({ cacheDirectory: join(directory, "other") });
  assert.ok(content.equals(await other.live.read(0, content.length)));
  await engine.live.write(0, Buffer.alloc(unitSizeBytes, 7));
  await assert.rejects(engine.sync(), /taken over/);
  assert.match(String(problems.at(-1)), /taken over/);
  await assert.rejects(engine.close({ discard: false }), (error: Error & { details: object }) => {
    assert.equal((error.details as { isFenced: boolean }).isFenced, true);
    return true;
  });
  const orphans = readdirSync(cache());
  assert.equal(orphans.length, 1, "everything local is set aside");
  const orphan = join(cache(), orphans[0] ?? "");
  assert.ok(readdirSync(orphan).includes("blocks"));
  const note = JSON.parse(readFileSync(join(orphan, "orphan.json"), "utf8")) as object;
  assert.match(JSON.stringify(note), /another writer has taken over/);
  // The new holder never noticed.
  await other.live.write(unitSizeBytes, Buffer.alloc(unitSizeBytes, 8));
  await other.close({ discard: false });
  const again = await open();
  const expected = Buffer.from(content);
  expected.fill(8, unitSizeBytes, 2 * unitSizeBytes);
  assert.ok(expected.equals(await again.live.read(0, content.length)));
  await again.close({ discard: false });
});

test("a damaged or missing segment is an error for the reader, never zeros", async () => {
  const engine = await open();
  await engine.live.write(0, content);
  await engine.close({ discard: false });
  rmSync(cache(), { recursive: true });
  const data = join(bucket(), prefix, "data");
  const segments = readdirSync(data).flatMap((name) =>
    readdirSync(join(data, name)).map((file) => join(data, name, file)),
  );
  assert.equal(segments.length, 1);
  const segment = segments[0] ?? "";
  const bytes = readFileSync(segment);
  bytes.writeUInt8(bytes.readUInt8(9_000) ^ 1, 9_000);
  writeFileSync(segment, bytes);
  const damaged = await open();
  await assert.rejects(damaged.live.read(0, unitSizeBytes), /damaged/);
  assert.ok(
    content
      .subarray(unitSizeBytes)
      .equals(await damaged.live.read(unitSizeBytes, 2 * unitSizeBytes)),
  );
  await damaged.abandon();
  rmSync(segment);
  rmSync(cache(), { recursive: true });
  const missing = await open();
  await assert.rejects(missing.live.read(0, 10), /missing/);
  await missing.abandon();
});

test("a damaged map is an error, and is not replaced by an empty one", async () => {
  const engine = await open();
  await engine.live.write(0, content);
  await engine.close({ discard: false });
  rmSync(cache(), { recursive: true });
  const meta = join(bucket(), prefix, "meta");
  for (const name of readdirSync(meta, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ltx")) continue;
    const bytes = readFileSync(join(meta, name));
    bytes.writeUInt8(bytes.readUInt8(200) ^ 1, 200);
    writeFileSync(join(meta, name), bytes);
  }
  await assert.rejects(open(), { code: "storage_failure" });
});

test("the guest goes on while the store is down, and hears when it is back", async () => {
  const store = new FaultyStore(await DirectoryObjectStore.open(bucket()), seededRandom(1));
  const engine = await open({ store });
  store.failureRate = 1;
  await engine.live.write(0, content);
  await eventually(() => problems.some((problem) => problem !== null), "the problem is told");
  await engine.live.write(content.length, content);
  assert.ok(content.equals(await engine.live.read(content.length, content.length)));
  store.failureRate = 0;
  await engine.sync();
  await eventually(() => problems.at(-1) === null, "the recovery is told");
  assert.equal(engine.statistics().syncedCut, engine.statistics().lastCut);
  await engine.close({ discard: false });
});

test("a cache directory deleted while segments wait for the bucket takes none of them", async () => {
  const store = new FaultyStore(await DirectoryObjectStore.open(bucket()), seededRandom(1));
  const engine = await open({ store });
  store.failureRate = 1;
  await engine.live.write(0, content);
  await eventually(() => problems.some((problem) => problem !== null), "a cut waits");
  rmSync(cache(), { recursive: true });
  store.failureRate = 0;
  await engine.sync();
  await engine.abandon();
  const elsewhere = await open();
  assert.ok(content.equals(await elsewhere.live.read(0, content.length)));
  await elsewhere.close({ discard: false });
});

test("closing with the store down fails in time, and loses nothing", async () => {
  const store = new FaultyStore(await DirectoryObjectStore.open(bucket()), seededRandom(1));
  const engine = await open({ store, closeTimeoutMs: 100 });
  store.failureRate = 1;
  await engine.live.write(0, content);
  await assert.rejects(engine.close({ discard: false }), { code: "storage_failure" });
  const again = await open();
  await again.sync();
  await again.close({ discard: false });
  rmSync(cache(), { recursive: true });
  const elsewhere = await open();
  assert.ok(content.equals(await elsewhere.live.read(0, content.length)));
  await elsewhere.close({ discard: false });
});

test("an idle volume asks nothing of the bucket", async () => {
  const store = await DirectoryObjectStore.open(bucket());
  const engine = await open({ store });
  await engine.live.write(0, content);
  await engine.sync();
  await eventually(() => engine.statistics().dirtyBytes === 0, "all is stored");
  await delay(50);
  const before = { ...store.statistics().requests };
  await delay(200);
  assert.deepEqual({ ...store.statistics().requests }, before);
  await engine.close({ discard: false });
});

test("what nothing names leaves the bucket after the grace time", async () => {
  let nowMs = Date.now();
  const engine = await open({ clock: { ...systemClock, nowMs: () => nowMs }, retentionMs: 60_000 });
  await engine.live.write(0, content);
  await engine.sync();
  const objects = (): string[] =>
    readdirSync(join(bucket(), prefix, "data"), { recursive: true, encoding: "utf8" }).filter(
      (name) => name.includes("/"),
    );
  assert.equal(objects().length, 1);
  await engine.live.punch(0, content.length);
  await engine.sync();
  nowMs += 30_000;
  engine.setAttribute("tick", "1");
  await engine.sync();
  assert.equal(objects().length, 1, "not before the grace time");
  nowMs += 60_000;
  await eventually(() => objects().length === 0, "deleted after the grace time");
  await engine.close({ discard: false });
});

test("formatted is for good, and attributes travel with the map", async () => {
  const engine = await open();
  assert.equal(engine.formatted, false);
  await engine.markFormatted();
  engine.setAttribute("image", "abc");
  assert.throws(() => engine.setAttribute("volume.lastNonce", "x"), { code: "invalid_request" });
  await engine.close({ discard: false });
  rmSync(cache(), { recursive: true });
  const elsewhere = await open({ readOnly: true });
  assert.equal(elsewhere.formatted, true);
  assert.equal(elsewhere.getAttribute("image"), "abc");
  await assert.rejects(elsewhere.restore("v0"), { code: "conflict" });
  await elsewhere.close({ discard: true });
});

test("an image is stored once and reads as the file, filled up with zeros", async () => {
  const file = join(directory, "image.erofs");
  const bytes = randomBytes(5 * unitSizeBytes + 1_234);
  writeFileSync(file, bytes);
  const options = { bucket: bucket(), file, cacheDirectory: cache };
  const hash = await importImage(options);
  const store = await DirectoryObjectStore.open(bucket());
  assert.equal(await importImage(options), hash);
  rmSync(cache(), { recursive: true });
  const image = await open({ store, prefix: `images/${hash}`, readOnly: true, sizeBytes: 0 });
  assert.equal(image.live.sizeBytes, 6 * unitSizeBytes);
  const found = Buffer.from(await image.live.read(0, image.live.sizeBytes));
  assert.ok(bytes.equals(found.subarray(0, bytes.length)));
  assert.ok(found.subarray(bytes.length).every((byte) => byte === 0));
  await image.close({ discard: true });
});

test("there is no read-only volume that was never made", async () => {
  await assert.rejects(open({ readOnly: true }), { code: "not_found" });
});
