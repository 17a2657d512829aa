import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { BlockMap } from "../block-map/block-map.ts";
import { makeMapCopy } from "../block-map/testing/make-map-copy.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { encodeLtx } from "../ltx/encode.ts";
import { ltxHeader } from "../ltx/format.ts";
import { decodeLtx } from "../ltx/decode.ts";
import type { FaultRule } from "../object-store/testing/fault-script.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine, type EngineOptions } from "./engine.ts";

const prefix = "sprites/test";
const content = randomBytes(3 * unitSizeBytes);
let directory = "";
let store: MemoryObjectStore;
let problems: (Error | null)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-open-"));
  store = new MemoryObjectStore();
  problems = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const cache = (): string => join(directory, "cache");

function open(options: Partial<EngineOptions> = {}): Promise<VolumeEngine> {
  return VolumeEngine.open({
    store,
    prefix,
    cacheDirectory: cache(),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 64 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 5,
    onProblem: (problem) => problems.push(problem),
    retryMsMin: 5,
    ...options,
  });
}

function setFaults(...rules: FaultRule[]): void {
  store.faults.setRules(rules);
}

async function hasContent(engine: VolumeEngine, expected: Uint8Array = content): Promise<boolean> {
  return Buffer.from(expected).equals(await engine.live.read(0, expected.length));
}

const orphans = (): string[] => readdirSync(cache()).filter((name) => name.startsWith("orphan-"));

/** Leaves a write that only this machine has. */
async function makeUnstored(): Promise<void> {
  const engine = await open({ syncIntervalMs: 60_000 });
  await engine.sync();
  await engine.live.write(0, content);
  await engine.flush();
  await engine.abandon();
}

test("opening and closing a volume again costs two requests and no transaction", async () => {
  const engine = await open();
  await engine.live.write(0, content);
  await engine.close({ discard: false });
  const transactions = [...store.contents().keys()].filter((key) => key.includes("/meta/"));
  const before = { ...store.statistics().requests };
  const again = await open();
  assert.ok(await hasContent(again));
  await again.close({ discard: false });
  const after = store.statistics().requests;
  const sum = (requests: typeof after): number =>
    Object.values(requests).reduce((total, count) => total + count, 0);
  assert.equal(sum(after) - sum(before), 2, "the head is taken, and let go");
  const now = [...store.contents().keys()].filter((key) => key.includes("/meta/"));
  assert.deepEqual(now, transactions);
});

test("an outage, however many attempts to open it sees, costs no local state", async () => {
  await makeUnstored();
  // The head is taken, and nobody hears of it; then the bucket is away for a long time.
  setFaults(
    { fault: { kind: "lost-reply", isReadBack: false }, requests: ["put"], count: 1 },
    { fault: { kind: "unavailable" }, skip: 1 },
  );
  for (let attempt = 0; attempt < 40; attempt++) await assert.rejects(open());
  setFaults();
  const engine = await open();
  assert.ok(await hasContent(engine));
  assert.deepEqual(orphans(), []);
  await engine.close({ discard: false });
});

test("an attempt to open that replaced another's head unheard does not make local state believable", async () => {
  const first = await open();
  await first.sync();
  setFaults({ fault: { kind: "unavailable" } });
  // With more cuts than the other will have, so that nothing but the head's history tells.
  for (let value = 1; first.statistics().lastCut < 6; value++) {
    await first.live.write(0, Buffer.alloc(unitSizeBytes, value));
    await delay(5);
  }
  await first.abandon();
  setFaults();
  const other = await open({ cacheDirectory: join(directory, "other") });
  const theirs = Buffer.alloc(content.length, 5);
  await other.live.write(0, theirs);
  await other.close({ discard: false });
  // The optimistic attempt is refused as it should be; the second takes the other's head, and nobody hears of it.
  setFaults({
    fault: { kind: "lost-reply", isReadBack: false },
    requests: ["put"],
    skip: 1,
    count: 1,
  });
  await assert.rejects(open());
  setFaults();
  const engine = await open();
  assert.ok(await hasContent(engine, theirs));
  assert.equal(orphans().length, 1);
  await engine.close({ discard: false });
});

test("a volume made where there was one already is not gone on with when that shows", async () => {
  const first = await open({ cacheDirectory: join(directory, "other"), syncIntervalMs: 60_000 });
  // The chain of the former holder is not seen yet, so the volume looks like one that was never finished.
  setFaults({ fault: { kind: "stale-list", changes: 2 }, key: /\/meta\// });
  await assert.rejects(open(), /taken over/);
  setFaults();
  const engine = await open();
  assert.equal(orphans().length, 1);
  await first.live.write(0, content);
  await assert.rejects(first.sync(), /taken over/);
  await first.abandon();
  await engine.close({ discard: false });
});

test("openings that take the head and fail, however many, cost no local state whose note is behind", async () => {
  const engine = await open({ syncIntervalMs: 60_000 });
  const note = readFileSync(join(cache(), "local.json"));
  await engine.live.write(0, Buffer.alloc(content.length, 1));
  await engine.sync();
  await engine.live.write(0, content);
  await engine.flush();
  await engine.abandon();
  // As a power failure leaves it: what is noted of a transaction is not synced.
  rmSync(join(cache(), "progress.json"));
  writeFileSync(join(cache(), "local.json"), note);
  setFaults({ fault: { kind: "unavailable" }, key: /\/meta\// });
  for (let attempt = 0; attempt < 40; attempt++) await assert.rejects(open());
  setFaults();
  const again = await open();
  assert.ok(await hasContent(again));
  assert.deepEqual(orphans(), []);
  await again.close({ discard: false });
});

test("a machine that was set back in time does not undo what the bucket has", async () => {
  const engine = await open();
  await engine.live.write(0, Buffer.alloc(content.length, 1));
  await engine.sync();
  cpSync(cache(), `${cache()}-older`, { recursive: true });
  await engine.live.write(0, content);
  await engine.sync();
  await engine.abandon();
  rmSync(cache(), { recursive: true });
  cpSync(`${cache()}-older`, cache(), { recursive: true });
  const again = await open();
  assert.ok(await hasContent(again));
  assert.match(String(problems[0]), /older than what the bucket has/);
  assert.equal(orphans().length, 1);
  await again.close({ discard: false });
});

test("a bucket that was set back in time is an error, and local state stays", async () => {
  const engine = await open();
  await engine.live.write(0, content);
  await engine.sync();
  await engine.abandon();
  const newest = [...store.contents().keys()].filter((key) => key.includes("/meta/")).at(-1);
  await store.deleteMany([newest ?? ""]);
  await assert.rejects(open(), /is it the right bucket/);
  assert.ok(existsSync(join(cache(), "map.db")));
});

test("a store that completes a dead process's transaction late has not been taken over", async () => {
  await makeUnstored();
  const engine = await open({ syncIntervalMs: 60_000 });
  const { txid } = engine.statistics();
  const keyOf = (number: number): string => {
    const name = number.toString(16).padStart(16, "0");
    return `${prefix}/meta/0000/${name}-${name}.ltx`;
  };
  // What the process before this one had asked for: the same page, under its own id.
  const last = await store.get(keyOf(txid));
  assert.ok(last);
  const { header, pages } = decodeLtx(last);
  const { writers } = JSON.parse(readFileSync(join(cache(), "local.json"), "utf8")) as {
    writers: string[];
  };
  const next = { minTxid: txid + 1, maxTxid: txid + 1 };
  const nodeId = BigInt(`0x${writers.at(-2) ?? ""}`);
  const late = encodeLtx(ltxHeader({ ...header, ...next, nodeId }), pages());
  await store.put(keyOf(txid + 1), late);
  await engine.sync();
  assert.ok(engine.statistics().txid > txid + 1);
  await engine.close({ discard: false });
  rmSync(cache(), { recursive: true });
  const elsewhere = await open();
  assert.ok(await hasContent(elsewhere));
  await elsewhere.close({ discard: false });
});

test("a volume of format 1 opens, with its local state or without, and is format 2 then", async () => {
  for (const isLocal of [true, false]) {
    rmSync(cache(), { recursive: true, force: true });
    await store.deletePrefix(`${prefix}/`);
    const engine = await open();
    await engine.live.write(0, content);
    await engine.close({ discard: false });
    await makeFormat1(isLocal);
    const again = await open();
    assert.ok(await hasContent(again));
    assert.deepEqual(problems, []);
    await again.close({ discard: false });
    const bytes = store.contents().get(`${prefix}/head.json`);
    const head = JSON.parse(Buffer.from(bytes ?? []).toString()) as Record<string, unknown>;
    assert.equal(head["formatVersion"], 2);
    assert.equal(head["legacyMap"], null);
    assert.equal(head["txid"], isLocal ? 2 : 1);
  }
});

/** What the program before this one would have left. */
async function makeFormat1(isLocal: boolean): Promise<void> {
  const path = join(cache(), "map.db");
  const local = JSON.parse(readFileSync(join(cache(), "local.json"), "utf8")) as {
    cacheId: string;
  };
  const map = BlockMap.open(path);
  const nonce = "f".repeat(32);
  map.setAttribute("volume.lastNonce", nonce);
  map.setAttribute("volume.cacheId", local.cacheId);
  const copy = makeMapCopy(map);
  const key = `meta/${"0".repeat(16)}-${nonce}`;
  const head = {
    ...{ formatVersion: 1, cut: map.lastCut, nonce, map: key, writer: "before" },
    ...{ mapSha256: createHash("sha256").update(copy).digest("hex"), mapSizeBytes: copy.length },
    ...{ sizeBytes: map.sizeBytes, writtenAtMs: 1 },
  };
  map.close();
  await store.deletePrefix(`${prefix}/meta/`);
  await store.put(`${prefix}/${key}`, copy);
  await store.put(`${prefix}/head.json`, Buffer.from(JSON.stringify(head)));
  rmSync(join(cache(), "local.json"));
  rmSync(join(cache(), "progress.json"), { force: true });
  if (!isLocal) rmSync(cache(), { recursive: true });
}

test("in durable mode nothing that was flushed is lost with the machine, and flushes share transactions", async () => {
  const engine = await open({ durability: "durable", syncIntervalMs: 60_000 });
  await engine.sync();
  const before = engine.statistics().txid;
  const expected = Buffer.alloc(8 * unitSizeBytes);
  const flushes = Array.from({ length: 8 }, async (_, unit) => {
    await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, unit + 1));
    await engine.live.flush();
  });
  for (let unit = 0; unit < 8; unit++) {
    expected.fill(unit + 1, unit * unitSizeBytes, (unit + 1) * unitSizeBytes);
  }
  await Promise.all(flushes);
  assert.ok(engine.statistics().txid - before <= 3, "one cut serves many");
  await engine.abandon();
  rmSync(cache(), { recursive: true });
  const elsewhere = await open();
  assert.ok(await hasContent(elsewhere, expected));
  assert.equal(elsewhere.durability, "durable", "the volume remembers");
  await elsewhere.setDurability("local");
  setFaults({ fault: { kind: "unavailable" } });
  await elsewhere.live.write(0, content);
  await elsewhere.live.flush();
  setFaults();
  await elsewhere.close({ discard: false });
});

test("local state that nobody recorded is set aside with a note", async () => {
  await makeUnstored();
  writeFileSync(join(cache(), "local.json"), "{");
  const engine = await open();
  assert.match(String(problems[0]), /no record/);
  const note = readFileSync(join(cache(), orphans()[0] ?? "", "orphan.json"), "utf8");
  assert.match(note, /no record/);
  await engine.close({ discard: false });
});
