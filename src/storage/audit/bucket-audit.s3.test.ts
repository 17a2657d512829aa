/** The leak check on a real S3 server: listings in pages, times of its own, deletion in batches. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { makeTestBucket } from "../../testing/radosgw.ts";
import { systemClock } from "../lease/clock.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { destroyVolume } from "../volume/destroy.ts";
import { listStrays, listVolumePrefixes } from "./bucket-listing.ts";
import { scrubBucket } from "./scrubber.ts";
import { AuditRig, dayMs, strayName, writeUnit } from "./testing/audit-rig.ts";

let rig: AuditRig;

before(
  async () => {
    const { url, environment } = await makeTestBucket();
    rig = new AuditRig(await openObjectStore(url, environment));
  },
  { timeout: 120_000 },
);
after(() => rig.dispose());

test("leaks go from S3, what forks need stays, and what is missing is told", async () => {
  const { store } = rig;
  const engine = await rig.open("one");
  for (const unit of [0, 1, 2]) await writeUnit(engine, unit, unit + 1);
  await engine.close({ discard: false });
  await rig.fork("one", "two");
  const stray = `sprites/one/${strayName}`;
  await store.put(stray, Buffer.alloc(4096));
  await store.put("elsewhere/thing", Buffer.from("x"));
  const sound = await rig.keys("");
  const later = { isDryRun: false, nowMs: Date.now() + dayMs };
  const { volumes, summary } = await rig.audit(later);
  assert.deepEqual([...volumes.keys()], ["sprites/one", "sprites/two"]);
  assert.deepEqual([summary.problems, summary.deleted.count], [0, 1]);
  assert.deepEqual(
    await rig.keys(""),
    sound.filter((key) => key !== stray),
  );
  await destroyVolume({ store, prefix: "sprites/one" });
  const destroyed = await rig.audit(later);
  assert.equal(destroyed.summary.problems, 0);
  assert.equal(destroyed.volumes.get("sprites/one")?.counts.forks.count, 3);
  assert.deepEqual(await rig.readCold("two", 3), [1, 2, 3]);
  const [lost = ""] = await rig.keys("sprites/one/data/");
  await store.deleteMany([lost]);
  const { problems } = (await rig.audit()).volumes.get("sprites/two") ?? {};
  assert.deepEqual(problems, [`${lost} is missing`]);
});

test("a scrub reads everything from S3 and names the damage", async () => {
  const { store } = rig;
  const engine = await rig.open("three");
  for (const unit of [0, 1]) await writeUnit(engine, unit, unit + 1);
  await engine.close({ discard: false });
  const scrub = async (): Promise<string[]> => {
    const common = { store, rateBytes: Infinity, positionPath: null, clock: systemClock };
    const found = { volume: "sprites/three", onDamage: () => undefined };
    const { damages } = await scrubBucket({ ...common, ...found });
    return damages.flatMap(({ places }) => places);
  };
  assert.deepEqual(await scrub(), []);
  const [, second = ""] = (await rig.keys("sprites/three/data/")).toSorted();
  const bytes = Buffer.from((await store.get(second)) ?? []);
  bytes[9_000] = (bytes[9_000] ?? 0) ^ 8;
  await store.put(second, bytes);
  assert.deepEqual(await scrub(), ["live@65536"]);
  await store.deletePrefix("sprites/three/");
});

test("volumes and strays are found wherever they are in the listing", async () => {
  const { store } = rig;
  for (const key of ["a", "images/0f/sealed.json", "sprites/a/head.json", "sprites/a-b/x", "zzz"]) {
    await store.put(key, Buffer.from("x"));
  }
  const prefixes = await all(listVolumePrefixes(store));
  assert.deepEqual(prefixes, [
    "images/0f",
    "sprites/a-b",
    "sprites/a",
    "sprites/one",
    "sprites/two",
  ]);
  const rest = await all(listVolumePrefixes(store, { after: "sprites/a" }));
  assert.deepEqual(rest, ["sprites/one", "sprites/two"]);
  const strays = await all(listStrays(store));
  assert.deepEqual(
    strays.map(({ key }) => key),
    ["a", "elsewhere/thing", "zzz"],
  );
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
