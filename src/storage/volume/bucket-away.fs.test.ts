import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { waitUntil } from "../../base/wait.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine, type EngineOptions } from "./engine.ts";

const prefix = "sprites/test";
const content = randomBytes(3 * unitSizeBytes);
let directory = "";
let store: MemoryObjectStore;
let problems: (Error | null)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-away-"));
  store = new MemoryObjectStore();
  problems = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(options: Partial<EngineOptions> = {}): Promise<VolumeEngine> {
  return VolumeEngine.open({
    store,
    prefix,
    server: "here",
    cacheDirectory: join(directory, "cache"),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 64 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 5,
    onProblem: (problem) => problems.push(problem),
    retryMsMin: 5,
    ...options,
  });
}

function setAway(isAway: boolean): void {
  store.faults.setRules(isAway ? [{ fault: { kind: "unavailable" } }] : []);
}

test("flushes that wait for a bucket that is away are relaxed, and owed again afterwards", async () => {
  const engine = await open({ durability: "durable" });
  await engine.sync();
  setAway(true);
  await engine.live.write(0, content);
  let answered = 0;
  const flush = (): void => void engine.live.flush().then(() => answered++);
  flush();
  assert.ok(await waitUntil(() => problems.length > 0, { timeoutMs: 5_000, intervalMs: 1 }));
  assert.equal(answered, 0);
  engine.relaxFlushes(true);
  flush();
  assert.ok(await waitUntil(() => answered === 2, { timeoutMs: 5_000, intervalMs: 1 }));
  assert.equal(engine.statistics().durability, "durable");
  engine.relaxFlushes(false);
  flush();
  await engine.local.flush();
  assert.equal(answered, 2);
  setAway(false);
  assert.ok(await waitUntil(() => answered === 3, { timeoutMs: 5_000, intervalMs: 1 }));
  await engine.close({ discard: false });
});

/** Leaves a volume whose agent has died, with a write that only this machine has. */
async function dieUnstored(): Promise<void> {
  const engine = await open();
  await engine.live.write(0, Buffer.alloc(content.length, 1));
  await engine.sync();
  setAway(true);
  await engine.live.write(0, content);
  await engine.flush();
  await engine.abandon();
}

async function hasContent(engine: VolumeEngine): Promise<boolean> {
  return content.equals(await engine.live.read(0, content.length));
}

const orphans = (): string[] =>
  readdirSync(join(directory, "cache")).filter((name) => name.startsWith("orphan-"));

test("what is still ours opens without the bucket, however often, and is stored when that is back", async () => {
  await dieUnstored();
  await assert.rejects(open(), "nobody has said that it is still ours");
  for (let deaths = 0; deaths < 3; deaths++) {
    const engine = await open({ isStillOurs: true });
    assert.ok(await hasContent(engine));
    await engine.abandon();
  }
  const requests = { ...store.statistics().requests };
  const engine = await open({ isStillOurs: true, syncIntervalMs: 60_000 });
  assert.deepEqual(store.statistics().requests, requests, "opening asks nothing");
  await engine.live.write(3 * unitSizeBytes, content);
  setAway(false);
  await engine.sync();
  assert.equal(engine.statistics().generation, 2);
  await engine.close({ discard: false });
  const elsewhere = await open({ cacheDirectory: join(directory, "other"), server: "there" });
  assert.ok(await hasContent(elsewhere));
  assert.ok(content.equals(await elsewhere.live.read(3 * unitSizeBytes, content.length)));
  await elsewhere.close({ discard: false });
  assert.deepEqual(orphans(), []);
});

test("what was another's by the time the bucket answers is fenced and kept aside", async () => {
  await dieUnstored();
  setAway(false);
  // Nobody renews for the server that is here, so the other one takes the volume at once.
  const other = await open({ cacheDirectory: join(directory, "other"), server: "there" });
  const theirs = Buffer.alloc(content.length, 9);
  await other.live.write(0, theirs);
  await other.sync();
  const headBefore = store.contents().get(`${prefix}/head.json`);
  const late = await open({ isStillOurs: true });
  await assert.rejects(late.sync(), { details: { isFenced: true } });
  await assert.rejects(late.close({ discard: false }), /another writer has taken over.*orphan-/);
  assert.equal(orphans().length, 1);
  assert.deepEqual(store.contents().get(`${prefix}/head.json`), headBefore, "theirs is left alone");
  await other.close({ discard: false });
  const again = await open({ isStillOurs: true });
  assert.ok(theirs.equals(await again.live.read(0, theirs.length)));
  await again.close({ discard: false });
});

test("what was let go, or perhaps let go, is nobody's to open without the bucket", async () => {
  const engine = await open({ closeTimeoutMs: 100 });
  await engine.live.write(0, content);
  await engine.sync();
  // The head is written, and nobody hears of it.
  store.faults.setRules([
    { fault: { kind: "lost-reply", isReadBack: false }, requests: ["put"], count: 1 },
    { fault: { kind: "unavailable" }, skip: 1 },
  ]);
  await assert.rejects(engine.close({ discard: false }));
  await assert.rejects(open({ isStillOurs: true }));
  setAway(false);
  const again = await open({ isStillOurs: true });
  assert.ok(await hasContent(again));
  await again.close({ discard: false });
  setAway(true);
  await assert.rejects(open({ isStillOurs: true }));
});
