import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { must } from "../../base/assert.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { destroyVolume } from "../volume/destroy.ts";
import type { VolumeEngine } from "../volume/engine.ts";
import { putMarker } from "../volume/fork-markers.ts";
import type { AuditedVolume, BucketAuditOptions } from "./bucket-audit.ts";
import { Collector } from "./collect.ts";
import { AuditRig, dayMs, graceMs, strayName, writeUnit } from "./testing/audit-rig.ts";
import { refusingWrites } from "./testing/troubled-store.ts";

let rig: AuditRig;
beforeEach(() => (rig = new AuditRig()));
afterEach(() => rig.dispose());

async function auditOne(
  name: string,
  options: Partial<BucketAuditOptions> = {},
): Promise<AuditedVolume> {
  const { volumes } = await rig.audit(options);
  return must(volumes.get(`sprites/${name}`), "the volume is in the bucket");
}

async function makeVolume(name: string, units: number): Promise<VolumeEngine> {
  const engine = await rig.open(name);
  for (let unit = 0; unit < units; unit++) await writeUnit(engine, unit, unit + 1);
  return engine;
}

test("a sound bucket has live objects and metadata, awake and asleep, and nothing is deleted", async () => {
  const engine = await makeVolume("one", 3);
  await (
    await engine.beginCheckpoint({ comment: "", isAuto: false })
  ).completed;
  await writeUnit(engine, 0, 9);
  await engine.sync();
  const before = await rig.keys("");
  for (const condition of ["held", "released"]) {
    rig.skewMs += 2 * dayMs;
    const { counts, problems, leaked, ...volume } = await auditOne("one", { isDryRun: false });
    assert.equal(volume.condition, condition);
    assert.deepEqual({ problems, leaked }, { problems: [], leaked: [] });
    assert.deepEqual(counts.live.count, before.filter((key) => key.includes("/data/")).length);
    assert.deepEqual([counts.pending.count, counts.unknown.count, counts.forks.count], [0, 0, 0]);
    if (condition === "held") {
      assert.deepEqual(await rig.keys(""), before);
      await engine.close({ discard: false });
    }
  }
  assert.deepEqual(await rig.readCold("one", 3), [9, 2, 3]);
});

test("what nobody names is pending until its writer has named others much later, then it goes", async () => {
  const engine = await makeVolume("one", 2);
  const stray = `sprites/one/${strayName}`;
  await rig.store.put(stray, Buffer.alloc(8192));
  // However long ago: the volume is held, and its holder has told nothing since.
  rig.skewMs += 30 * dayMs;
  assert.equal((await auditOne("one", { isDryRun: false })).counts.pending.count, 1);
  await writeUnit(engine, 1, 7);
  const found = await auditOne("one");
  assert.deepEqual(
    found.leaked.map(({ key }) => key),
    [stray],
  );
  assert.equal(found.deleted, null, "a dry run deletes nothing");
  assert.ok((await rig.keys("sprites/one/data/")).includes(stray));
  const { deleted } = await auditOne("one", { isDryRun: false });
  assert.deepEqual(deleted, { count: 1, sizeBytes: 8192 });
  assert.ok(!(await rig.keys("sprites/one/data/")).includes(stray));
  await engine.close({ discard: false });
  assert.deepEqual(await rig.readCold("one", 2), [1, 7]);
});

test("a segment that reached the bucket before its machine was switched off is there when it is on again", async () => {
  let isChainRefused = false;
  const store = refusingWrites(rig.store, (key) => isChainRefused && key.includes("/meta/"));
  const engine = await rig.open("one", { store, closeTimeoutMs: 50 });
  await writeUnit(engine, 0, 1);
  isChainRefused = true;
  const before = await rig.keys("sprites/one/data/");
  await engine.live.write(0, Buffer.alloc(unitSizeBytes, 2));
  while ((await rig.keys("sprites/one/data/")).length === before.length) await tick();
  await engine.close({ discard: false }).catch(() => undefined);
  rig.skewMs += 90 * dayMs;
  const { counts } = await auditOne("one", { isDryRun: false });
  assert.deepEqual([counts.pending.count, counts.leaked.count], [1, 0]);
  const again = await rig.open("one");
  assert.equal((await again.live.read(0, unitSizeBytes))[0], 2);
  await again.close({ discard: false });
  assert.deepEqual(await rig.readCold("one", 1), [2]);
});

test("garbage of a sprite that sleeps goes after the grace, that of one awake is its own concern", async () => {
  const engine = await makeVolume("one", 2);
  await writeUnit(engine, 0, 8);
  rig.skewMs += dayMs;
  assert.equal((await auditOne("one", { isDryRun: false })).counts.pending.count, 1);
  await engine.close({ discard: false });
  const asleep = await auditOne("one", { isDryRun: false });
  assert.equal(asleep.deleted?.count, 1);
  const after = await auditOne("one");
  assert.deepEqual([after.counts.leaked.count, after.problems], [0, []]);
  assert.deepEqual(await rig.readCold("one", 2), [8, 2]);
});

test("what a fork needs of its source stays when the source has given it up", async () => {
  const engine = await makeVolume("one", 2);
  await rig.fork("one", "two");
  await writeUnit(engine, 0, 8);
  await engine.close({ discard: false });
  rig.skewMs += dayMs;
  const { counts, deleted } = await auditOne("one", { isDryRun: false });
  assert.deepEqual([counts.forks.count, counts.leaked.count, deleted?.count], [1, 0, 0]);
  assert.deepEqual(await rig.readCold("two", 2), [1, 2]);
});

test("a fork that has stopped reading its source lets go of it, and a destroyed source then goes too", async () => {
  const engine = await makeVolume("one", 3);
  await engine.close({ discard: false });
  await rig.fork("one", "two");
  const fork = await rig.open("two");
  await writeUnit(fork, 0, 7);
  await writeUnit(fork, 1, 8);
  await fork.close({ discard: false });
  assert.deepEqual((await auditOne("two")).surplus, [], "states of the past need it for the grace");
  rig.skewMs += dayMs;
  await destroyVolume({ store: rig.store, prefix: "sprites/one" });
  assert.equal((await rig.keys("sprites/one/data/")).length, 3);
  assert.deepEqual(
    (await auditOne("two")).surplus.map(({ owner, count }) => [owner, count]),
    [["sprites/one", 2]],
  );
  assert.equal((await rig.keys("sprites/one/data/")).length, 3, "a dry run");
  // A fork of the fork that is being made may need it yet.
  await putMarker(rig.store, {
    ...{ owner: "sprites/two", forkId: "three", fork: "sprites/three", segments: "all" },
  });
  await rig.audit({ isDryRun: false });
  assert.equal((await rig.keys("sprites/one/data/")).length, 3);
  await rig.store.deleteMany(["sprites/two/forks/three.json"]);
  await rig.audit({ isDryRun: false });
  assert.equal((await rig.keys("sprites/one/data/")).length, 1);
  assert.deepEqual((await auditOne("two")).problems, []);
  assert.deepEqual(await rig.readCold("two", 3), [7, 8, 3]);
  const again = await rig.open("two");
  await writeUnit(again, 2, 9);
  await again.close({ discard: false });
  rig.skewMs += dayMs;
  await rig.audit({ isDryRun: false });
  assert.deepEqual(await rig.keys("sprites/one/data/"), []);
  assert.deepEqual(await rig.readCold("two", 3), [7, 8, 9]);
});

test("only what is leaked at a second look goes", async () => {
  await (await makeVolume("one", 1)).close({ discard: false });
  rig.skewMs += dayMs;
  const report = await auditOne("one");
  const [key = ""] = await rig.keys("sprites/one/data/");
  const mapPath = join(rig.directory, "map.db");
  const { store, nowMs } = rig;
  const collector = new Collector({ store, graceMs, nowMs, bytesMax: 2 ** 30, mapPath });
  const stale = { ...report, leaked: [{ key, sizeBytes: 4096, modifiedAtMs: 0 }] };
  assert.equal((await collector.collect(stale)).count, 0);
  assert.deepEqual(await rig.keys("sprites/one/data/"), [key]);
});

test("what is missing or too short is told by its key, in a fork also what it reads of others", async () => {
  const engine = await makeVolume("one", 3);
  await engine.close({ discard: false });
  await rig.fork("one", "two");
  const [first, second] = await rig.keys("sprites/one/data/");
  await rig.store.deleteMany([must(first, "a segment")]);
  await rig.store.put(must(second, "a segment"), Buffer.alloc(4096));
  const { problems } = await auditOne("one");
  assert.deepEqual(problems.toSorted(), [
    `${first} is missing`,
    `${second} has 4096 bytes instead of ${4096 + unitSizeBytes}`,
  ]);
  assert.deepEqual((await auditOne("two")).problems, [`${first} is missing`]);
  await rig.store.deleteMany(await rig.keys("sprites/one/forks/"));
  assert.match(
    (await auditOne("two")).problems[0] ?? "",
    /no marker keeps 3 of the 3 segments that it reads of sprites\/one/,
  );
});

test("a destroyed source keeps what its fork reads; with the fork the rest goes", async () => {
  const engine = await makeVolume("one", 2);
  await engine.close({ discard: false });
  await rig.fork("one", "two");
  await destroyVolume({ store: rig.store, prefix: "sprites/one" });
  // As if the destruction had been cut short.
  await rig.store.put("sprites/one/head.json", Buffer.from("left"));
  rig.skewMs += dayMs;
  const source = await auditOne("one", { isDryRun: false });
  assert.equal(source.condition, "destroyed");
  assert.deepEqual([source.counts.forks.count, source.deleted?.count], [2, 1]);
  assert.deepEqual(await rig.readCold("two", 2), [1, 2]);
  await destroyVolume({ store: rig.store, prefix: "sprites/two" });
  await rig.audit({ isDryRun: false });
  assert.deepEqual(await rig.keys("sprites/"), []);
});

test("nothing of a volume whose head or map is damaged is deleted, and it is an alarm", async () => {
  const engine = await makeVolume("one", 2);
  await engine.close({ discard: false });
  await rig.store.put(`sprites/one/${strayName}`, Buffer.alloc(4096));
  rig.skewMs += 30 * dayMs;
  const chain = (await rig.keys("sprites/one/meta/")).at(0) ?? "";
  const bytes = must(await rig.store.get(chain), "the chain has a file");
  for (const [key, content] of [
    [chain, bytes.subarray(0, 90)],
    ["sprites/one/head.json", Buffer.from("{}")],
  ] as const) {
    await rig.store.put(key, content);
    const before = await rig.keys("");
    const report = await auditOne("one", { isDryRun: false, withVolumes: true });
    assert.equal(report.condition, "unreadable");
    assert.equal(report.problems.length, 1);
    assert.deepEqual(await rig.keys(""), before);
    await rig.store.put(key, bytes);
  }
});

test("a run deletes as many bytes as it may, and the next goes on", async () => {
  await (await makeVolume("one", 1)).close({ discard: false });
  for (const digit of [1, 2, 3]) {
    await rig.store.put(
      `sprites/one/data/f${digit}/000000f${digit}-0123456789ab`,
      Buffer.alloc(4096),
    );
  }
  rig.skewMs += graceMs + 1_000;
  const first = await rig.audit({ isDryRun: false, bytesMax: 9_000 });
  assert.equal(first.summary.isBudgetSpent, true);
  assert.deepEqual(first.summary.deleted, { count: 2, sizeBytes: 8192 });
  const second = await rig.audit({ isDryRun: false, bytesMax: 9_000 });
  assert.equal(second.summary.isBudgetSpent, false);
  assert.equal(second.summary.deleted.count, 1);
});

test("whole volumes go only when no registry names them, they lie still, and somebody asks for it", async () => {
  await (await makeVolume("kept", 1)).close({ discard: false });
  await (await makeVolume("lost", 1)).close({ discard: false });
  const awake = await makeVolume("awake", 1);
  await rig.store.put("sprites/half/data/00/00000000-0123456789ab", Buffer.alloc(4096));
  await rig.store.put("images/old/sealed.json", Buffer.from("{}"));
  const server = {
    formatVersion: 1,
    server: "server",
    incarnation: "i",
    machine: "m",
    sequence: 1,
  };
  const record = { ...server, isReleased: false, renewedAtMs: 0 };
  await rig.store.put("servers/server.json", Buffer.from(JSON.stringify(record)));
  const registered = { sprites: new Set(["sprites/kept"]), images: new Set<string>() };
  const everything = { isDryRun: false, withVolumes: true, withImages: true };
  const before = await rig.keys("");
  // Without a registry nobody knows; with one, they are too young.
  for (const known of [null, registered]) {
    await rig.audit({ ...everything, registered: known });
    assert.deepEqual(await rig.keys(""), before);
  }
  rig.skewMs += 2 * dayMs;
  const { volumes, summary } = await rig.audit({ isDryRun: false, registered });
  assert.deepEqual(await rig.keys(""), before, "nobody asked for it");
  assert.equal(volumes.get("sprites/lost")?.disposal, "unregistered");
  assert.equal(volumes.get("images/old")?.disposal, "unused");
  assert.equal(volumes.get("sprites/kept")?.disposal, null);
  assert.ok(summary.disposable.count > 0);
  // The clock of the lease stands still for those who wait, and the server renews meanwhile.
  let looks = 0;
  const clock = {
    nowMs: () => rig.nowMs,
    monotonicMs: () => looks,
    wait: async () => {
      looks += 1_000;
      const renewed = { ...record, sequence: looks };
      await rig.store.put("servers/server.json", Buffer.from(JSON.stringify(renewed)));
    },
  };
  await rig.audit({ ...everything, registered, clock });
  const left = new Set((await rig.keys("")).map((key) => key.split("/", 2).join("/")));
  assert.deepEqual([...left].toSorted(), ["servers/server.json", "sprites/awake", "sprites/kept"]);
  await awake.close({ discard: true });
  assert.deepEqual(await rig.readCold("kept", 1), [1]);
});

test("a sprite that writes, sleeps and wakes beside eager collections loses nothing", async () => {
  let engine = await rig.open("busy");
  const wanted = [0, 0, 0, 0];
  let isDone = false;
  const collections = (async () => {
    let runs = 0;
    for (; !isDone; runs++) {
      const { summary } = await rig.audit({ isDryRun: false, graceMs: 1 });
      assert.equal(summary.problems, 0);
    }
    return runs;
  })();
  for (let round = 1; round <= 60; round++) {
    const unit = round % wanted.length;
    await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, round));
    wanted[unit] = round;
    if (round % 3 === 0) await engine.sync();
    if (round % 7 === 0)
      await (
        await engine.beginCheckpoint({ comment: "", isAuto: false })
      ).completed;
    if (round % 20 !== 0) continue;
    await engine.close({ discard: false });
    engine = await rig.open("busy");
  }
  await engine.close({ discard: false });
  isDone = true;
  assert.ok((await collections) > 3);
  assert.deepEqual(await rig.readCold("busy", 4), wanted);
});

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}
