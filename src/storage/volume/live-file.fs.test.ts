/** What the live file fetches and when, from a bucket that has a distance, and what a flush waits for. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { Eviction } from "../chunk-cache/eviction.ts";
import { LocalCache } from "../chunk-cache/local-cache.ts";
import { loadPunchHole } from "../chunk-cache/punch-hole.ts";
import { control } from "../chunk-cache/shared-state.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import { LiveFile } from "./live-file.ts";

const unitCount = 1_024;
const getMs = 20;
let directory = "";
let opened = 0;
let store: MemoryObjectStore;
/** GETs under way, and the most that ever were. */
let atOnce = 0;
let atOnceMax = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-live-"));
  atOnce = 0;
  atOnceMax = 0;
  store = new MemoryObjectStore({
    delay: async (delayMs) => {
      atOnceMax = Math.max(atOnceMax, ++atOnce);
      await delay(delayMs);
      atOnce--;
    },
  });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Each time with another, empty cache. */
async function open(): Promise<VolumeEngine> {
  const engine = await VolumeEngine.open({
    store,
    prefix: "sprites/live",
    cacheDirectory: join(directory, `cache-${opened++}`),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: unitCount * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 10,
    onProblem: () => undefined,
  });
  // The list of the last boot is asked for in the background.
  while (atOnce > 0) await delay(1);
  atOnceMax = 0;
  return engine;
}

function contentOf(unit: number): Buffer {
  return Buffer.alloc(unitSizeBytes, `unit ${unit} `);
}

async function writeAll(): Promise<void> {
  const engine = await open();
  for (let unit = 0; unit < unitCount; unit++) {
    await engine.live.write(unit * unitSizeBytes, contentOf(unit));
  }
  await engine.sync();
  await engine.close({ discard: false });
}

function slowGets(): void {
  store.faults.setRules([{ fault: { kind: "slow", delayMs: getMs }, requests: ["get"] }]);
}

async function readUnit(engine: VolumeEngine, unit: number): Promise<void> {
  const found = await engine.live.read(unit * unitSizeBytes, unitSizeBytes);
  assert.ok(contentOf(unit).equals(found), `unit ${unit}`);
}

test("a cold read in order runs at the bucket's width, not at its distance", async (context) => {
  await writeAll();
  slowGets();
  const engine = await open();
  try {
    const before = store.statistics().requests.get;
    const startMs = performance.now();
    for (let unit = 0; unit < unitCount; unit++) await readUnit(engine, unit);
    const tookMs = performance.now() - startMs;
    const gets = store.statistics().requests.get - before;
    const rate = (unitCount * unitSizeBytes) / 2 ** 20 / (tookMs / 1_000);
    context.diagnostic(
      `cold read in order: ${rate.toFixed(0)} MiB/s, ${gets} GETs of ${getMs} ms, ${atOnceMax} at once`,
    );
    assert.ok(gets <= unitCount / 10, `${gets} GETs`);
    // Eight fetches, of which each may lie in two segments, and what the reader waits for.
    assert.ok(atOnceMax >= 6 && atOnceMax <= 18, `${atOnceMax} at once`);
  } finally {
    await engine.close({ discard: false });
  }
});

test("32 cold reads at random are 32 GETs at once, and two of one unit are one", async () => {
  await writeAll();
  slowGets();
  const engine = await open();
  try {
    const units = Array.from({ length: 32 }, (_, index) => (index * 397 + 11) % unitCount);
    const before = store.statistics().requests.get;
    await Promise.all([...units, ...units].map((unit) => readUnit(engine, unit)));
    assert.equal(store.statistics().requests.get - before, 32);
    assert.equal(atOnceMax, 32);
  } finally {
    await engine.close({ discard: false });
  }
});

test("what was read first is told, and fetched before it is asked for the next time", async () => {
  await writeAll();
  const first = await open();
  for (const unit of [700, 3, 701, 12, 3]) await readUnit(first, unit);
  const boot = first.live.recordedBoot();
  assert.deepEqual([...boot], [700, 3, 701, 12]);
  await first.close({ discard: false });
  const second = await open();
  try {
    await second.live.prefetch([...boot]);
    const before = store.statistics().requests.get;
    for (const unit of boot) await readUnit(second, unit);
    assert.equal(store.statistics().requests.get, before, "all of it is here");
  } finally {
    await second.close({ discard: false });
  }
});

test("a flush that waits for the bucket is let go when less is asked for", async () => {
  const punchHole = loadPunchHole();
  const local = LocalCache.open({
    directory: join(directory, "cache"),
    sizeBytes: unitCount * unitSizeBytes,
    volumeId: "0".repeat(32),
    bootId: "boot",
    readOnly: false,
    lastCut: 0,
    forEachMapped: () => undefined,
    punchHole,
    nowMs: Date.now,
  });
  const away = Promise.withResolvers<void>();
  const notAsked = null as never;
  const live = new LiveFile({
    ...{ places: notAsked, reader: notAsked, local, punchHole, readOnly: false },
    eviction: new Eviction(local.cache, { punchHole, sizeBytesMax: 2 ** 30 }),
    flush: () => away.promise,
  });
  const isHandedOver = (): boolean => local.cache.state.control[control.durableSync] !== 0;
  live.flushMode = "durable";
  assert.ok(isHandedOver(), "the fast lane leaves syncs alone");
  let isAnswered = false;
  const flush = live.flush().then(() => (isAnswered = true));
  await local.flush();
  assert.ok(!isAnswered, "the bucket is away");
  live.flushMode = "local";
  await flush;
  assert.ok(!isHandedOver());
  local.abandon();
});
