import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
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
    closeTimeoutMs: 100,
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
