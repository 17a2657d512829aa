import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { systemClock, type LeaseClock } from "../lease/clock.ts";
import { shipRegistry } from "./testing/sample-registry.ts";
import { Database } from "../database.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { readPosition, writePosition } from "./scrub-position.ts";
import type { Damage } from "./scrub-volume.ts";
import { scrubBucket, type ScrubberOptions } from "./scrubber.ts";
import { AuditRig, writeUnit } from "./testing/audit-rig.ts";

let rig: AuditRig;
beforeEach(() => (rig = new AuditRig()));
afterEach(() => rig.dispose());

async function scrub(options: Partial<ScrubberOptions> = {}): Promise<Damage[]> {
  const damages: Damage[] = [];
  await scrubBucket({
    ...{ store: rig.store, rateBytes: Infinity, positionPath: null, volume: null },
    ...{ clock: systemClock, onDamage: (damage) => damages.push(damage) },
    ...options,
  });
  return damages;
}

/** Flips a bit of an object. */
async function damage(key: string, atBytes: number): Promise<void> {
  const bytes = Buffer.from(must(await rig.store.get(key), key));
  bytes[atBytes] = (bytes[atBytes] ?? 0) ^ 1;
  await rig.store.put(key, bytes);
}

async function volumeWithCheckpoint(): Promise<string[]> {
  const engine = await rig.open("one");
  for (const unit of [0, 1, 2]) await writeUnit(engine, unit, unit + 1);
  await (
    await engine.beginCheckpoint({ comment: "", isAuto: false })
  ).completed;
  await writeUnit(engine, 0, 9);
  await engine.close({ discard: false });
  return (await rig.keys("sprites/one/data/")).toSorted();
}

test("a sound bucket is found sound, and all of it is read", async () => {
  await volumeWithCheckpoint();
  await rig.fork("one", "two");
  const reads: string[] = [];
  const store = counting(rig.store, (_, key) => reads.push(key));
  assert.deepEqual(await scrub({ store }), []);
  const count = (key: string): number => reads.filter((read) => read === key).length;
  // The fork reads all but the one that only the source's checkpoint has.
  const segments = (await rig.keys("sprites/one/data/")).toSorted();
  assert.deepEqual(segments.map(count), [1, 2, 2, 2]);
});

test("a flipped bit is found where it is: file, checkpoint, offset; in what was replaced it hurts nobody", async () => {
  const [first = "", second = "", third = "", fourth = ""] = await volumeWithCheckpoint();
  await damage(first, blockSizeBytes + 5);
  await damage(second, unitSizeBytes);
  await damage(fourth, 70);
  const damages = await scrub();
  assert.deepEqual(
    damages.map(({ key, files, places }) => ({ key, files, places })),
    [
      { key: first, files: ["v0"], places: ["v0@0"] },
      {
        key: second,
        files: ["live", "v0"],
        places: [`live@${unitSizeBytes}`, `v0@${unitSizeBytes}`],
      },
    ],
    "bytes of the header's block that mean nothing are not damaged",
  );
  assert.match(damages[0]?.reason ?? "", /checksum does not match/);
  assert.equal(damages[0]?.volume, "sprites/one");
  await damage(third, 3);
  const [, , header] = await scrub();
  assert.match(header?.reason ?? "", /it has no header/);
});

test("a missing or cut segment is found, by each volume that reads it", async () => {
  const [first = "", second = ""] = await volumeWithCheckpoint();
  await rig.fork("one", "two");
  await rig.store.deleteMany([first]);
  const whole = must(await rig.store.get(second), second);
  await rig.store.put(second, whole.subarray(0, whole.length - 1));
  const damages = await scrub();
  assert.deepEqual(
    damages.map(({ volume, reason }) => [volume, reason]),
    [
      ["sprites/one", `segment ${first} is missing`],
      ["sprites/one", `segment ${second} is damaged: it is cut off`],
      ["sprites/two", `segment ${second} is damaged: it is cut off`],
    ],
  );
});

test("an answer that did not come once is no damage", async () => {
  await volumeWithCheckpoint();
  let failures = 0;
  const store = counting(rig.store, (_, key) => {
    if (key !== "sprites/one/head.json" || ++failures > 1) return;
    throw new SpriteError("storage_failure", "the bucket is away");
  });
  assert.deepEqual(await scrub({ store }), []);
  assert.ok(failures > 1);
});

test("damage to the chain of a map, to a head and to the registry is found", async () => {
  await volumeWithCheckpoint();
  const path = join(rig.directory, "acme.db");
  const database = Database.open(path, { create: true });
  database.execute("CREATE TABLE t (body); INSERT INTO t VALUES (randomblob(9000))");
  database.close();
  await shipRegistry(rig.store, path);
  assert.deepEqual(await scrub(), []);
  await damage((await rig.keys("orgs/"))[0] ?? "", 200);
  await damage((await rig.keys("sprites/one/meta/"))[0] ?? "", 200);
  const found = await scrub();
  assert.equal(found[0]?.volume, "orgs/acme.db");
  assert.ok(found.some(({ volume, key }) => volume === "sprites/one" && key.endsWith("/meta")));
  await rig.store.put("sprites/one/head.json", Buffer.from("{"));
  assert.ok((await scrub()).some(({ reason }) => /head.json is no JSON/.test(reason)));
});

test("it goes on where it was stopped, and tells what it found before only once", async () => {
  const segments = await volumeWithCheckpoint();
  await damage(segments[0] ?? "", blockSizeBytes);
  const positionPath = join(rig.directory, "scrub.json");
  const stop = new AbortController();
  const reads: string[] = [];
  const store = counting(rig.store, (_, key) => {
    if (!key.includes("/data/")) return;
    reads.push(key);
    if (key === segments[1]) stop.abort(new Error("stopped"));
  });
  const damages: Damage[] = [];
  const onDamage = (found: Damage): number => damages.push(found);
  await assert.rejects(scrub({ store, positionPath, signal: stop.signal, onDamage }), /stopped/);
  const stopped = await readPosition(positionPath);
  assert.equal(stopped?.volume, "sprites/one");
  assert.equal(stopped?.damages.length, 1);
  reads.length = 0;
  await scrub({ store, positionPath, onDamage });
  assert.deepEqual(reads, segments.slice(2));
  // One that was killed has kept what it found, and perhaps not all of its way.
  await writePosition(positionPath, { ...stopped, segment: 0 });
  await scrub({ positionPath, onDamage });
  assert.equal(damages.length, 1);
  const ended = await readPosition(positionPath);
  assert.ok(ended !== null && ended.endedAtMs !== null && ended.readBytes > stopped.readBytes);
  assert.equal(ended.damages.length, 1);
  // The next pass begins at the beginning; a position that is damaged is none.
  reads.length = 0;
  writeFileSync(positionPath, "{");
  await scrub({ store, positionPath, onDamage });
  assert.deepEqual([...new Set(reads)], segments);
});

test("a store that does not answer ends the pass, and is no damage", async () => {
  await volumeWithCheckpoint();
  const store = counting(rig.store, (_, key) => {
    if (key.includes("/data/")) throw new SpriteError("unavailable", "down");
  });
  const damages: Damage[] = [];
  await assert.rejects(scrub({ store, onDamage: (found) => damages.push(found) }), /down/);
  assert.deepEqual(damages, []);
});

test("what its writer has given up meanwhile is not missing", async () => {
  const engine = await rig.open("one");
  for (const unit of [0, 1]) await writeUnit(engine, unit, unit + 1);
  const [first = ""] = (await rig.keys("sprites/one/data/")).toSorted();
  let nowMs = 0;
  const clock: LeaseClock = { ...systemClock, monotonicMs: () => nowMs };
  let isGone = false;
  const store = counting(
    rig.store,
    () => undefined,
    async (key) => {
      if (key !== first || isGone) return;
      isGone = true;
      // An hour passes between the map and the segment: the unit is rewritten, and the segment deleted.
      nowMs += 60 * 60_000;
      await writeUnit(engine, 0, 7);
      await rig.store.deleteMany([first]);
    },
  );
  assert.deepEqual(await scrub({ store, clock }), []);
  assert.equal(isGone, true);
  await engine.close({ discard: false });
});

test("it reads no faster than it may", async () => {
  await volumeWithCheckpoint();
  let nowMs = 0;
  const clock: LeaseClock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    wait: async (ms) => void (nowMs += ms),
  };
  let readBytes = 0;
  const store = counting(rig.store, (sizeBytes) => (readBytes += sizeBytes));
  await scrub({ store, clock, rateBytes: 10_000 });
  const expectedMs = readBytes / 10;
  assert.ok(nowMs <= expectedMs && nowMs > 0.75 * expectedMs, `${nowMs} of ${expectedMs} ms`);
});

/** Tells of every read; `before` runs ahead of it. */
function counting(
  store: ObjectStore,
  onRead: (sizeBytes: number, key: string) => void,
  before: (key: string) => Promise<void> = async () => undefined,
): ObjectStore {
  const handler: ProxyHandler<ObjectStore> = {
    get: (target, name: keyof ObjectStore) => {
      const method = (target[name] as (...all: unknown[]) => unknown).bind(target);
      if (!name.startsWith("get")) return method;
      return async (key: string, ...rest: unknown[]) => {
        await before(key);
        const found = (await method(key, ...rest)) as Uint8Array | { bytes: Uint8Array } | null;
        const bytes = found !== null && "bytes" in found ? found.bytes : found;
        onRead(bytes?.length ?? 0, key);
        return found;
      };
    },
  };
  return new Proxy(store, handler);
}
