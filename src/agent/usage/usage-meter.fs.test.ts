import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createLog } from "../../base/log.ts";
import type { UsageReport } from "../../contract/usage-report.ts";
import type { BucketUse, VolumeStatistics } from "../../storage/volume/volume.ts";
import { readUsageFile } from "./usage-file.ts";
import { UsageMeter, type UsageMeterParts } from "./usage-meter.ts";

const log = createLog({ level: "silent", room: "test" });
const mebibyte = 1024 * 1024;
let directory: string;
let path: string;
let nowMs: number;
const container = { processorMs: 0, sent: 0, memory: 0 };
let use: BucketUse;
const statistics = { bucketBytes: 4_000, cachedBytes: 9 } as VolumeStatistics;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "usage-meter-"));
  path = join(directory, "usage", "s.json");
  nowMs = 1_000;
  Object.assign(container, { processorMs: 0, sent: 0, memory: 0 });
  use = { requests: { get: 0, put: 0, list: 0, delete: 0 }, readBytes: 0, writtenBytes: 0 };
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function makeMeter(given: Partial<UsageMeterParts> = {}): {
  meter: UsageMeter;
  said: UsageReport[];
} {
  const said: UsageReport[] = [];
  const meter = new UsageMeter({
    ...{ path, takesOver: false, isSpare: false, log, bootId: "boot-1" },
    container: () => ({
      processorTimeMs: () => container.processorMs,
      memoryBytes: () => container.memory,
      network: { sentBytes: () => container.sent },
    }),
    volume: {
      statistics: async () => await Promise.resolve(statistics),
      get lastSeen() {
        return { statistics, use };
      },
    },
    say: (report) => said.push(report),
    monotonicMs: () => nowMs,
    ...given,
  });
  return { meter, said };
}

async function ended(meter: UsageMeter, said: UsageReport[]): Promise<UsageReport> {
  await meter.end();
  return said.at(-1) ?? assert.fail("nothing was reported");
}

test("time, processor, memory, network and requests add up over running and warm spans", async () => {
  container.processorMs = 40;
  const { meter, said } = makeMeter();
  meter.onContainer({ isAdopted: false });
  meter.start();
  container.memory = 10 * mebibyte;
  nowMs += 10_000;
  Object.assign(container, { processorMs: 2_540, sent: 700 });
  meter.onRest("warm");
  nowMs += 30_000;
  meter.onRest("running");
  container.memory = 0;
  nowMs += 2_000;
  use = { requests: { get: 3, put: 5, list: 2, delete: 7 }, readBytes: 11, writtenBytes: 13 };
  const { counters } = await ended(meter, said);
  assert.deepEqual(counters, {
    runningMs: 12_000,
    warmMs: 30_000,
    processorMs: 2_500,
    memoryByteSeconds: 5 * mebibyte * 10 + 5 * mebibyte * 2,
    warmMemoryByteSeconds: 10 * mebibyte * 30,
    sentBytes: 700,
    bucketWrites: 7,
    bucketReads: 3,
    bucketDeletes: 7,
    bucketWrittenBytes: 13,
    bucketReadBytes: 11,
  });
});

test("the next agent's counters go on where the last one's ended", async () => {
  const first = makeMeter();
  first.meter.onContainer({ isAdopted: false });
  nowMs += 5_000;
  container.processorMs = 900;
  use = { ...use, requests: { get: 4, put: 0, list: 0, delete: 0 } };
  const before = await ended(first.meter, first.said);
  // Nothing of it ran for an hour, and its next container and volume count from nothing.
  nowMs += 3_600_000;
  container.processorMs = 0;
  use = { ...use, requests: { get: 1, put: 0, list: 0, delete: 0 } };
  const second = makeMeter();
  second.meter.onContainer({ isAdopted: false });
  nowMs += 1_000;
  container.processorMs = 100;
  const after = await ended(second.meter, second.said);
  assert.equal(after.meterId, before.meterId);
  assert.equal(after.counters.runningMs, 6_000);
  assert.equal(after.counters.processorMs, 1_000);
  assert.equal(after.counters.bucketReads, 5);
});

test("an agent that takes over counts what the container did while there was none", async () => {
  const first = makeMeter();
  first.meter.onContainer({ isAdopted: false });
  nowMs += 10_000;
  container.processorMs = 1_000;
  await ended(first.meter, first.said);
  nowMs += 4_000;
  container.processorMs = 1_700;
  const second = makeMeter({ takesOver: true });
  second.meter.onContainer({ isAdopted: true });
  second.meter.start();
  nowMs += 1_000;
  const { counters } = await ended(second.meter, second.said);
  assert.equal(counters.runningMs, 15_000);
  assert.equal(counters.processorMs, 1_700);
});

test("a mark of another boot of the machine says nothing about time", async () => {
  const first = makeMeter();
  nowMs = 900_000;
  await ended(first.meter, first.said);
  nowMs = 50;
  const second = makeMeter({ takesOver: true, bootId: "boot-2" });
  second.meter.onContainer({ isAdopted: false });
  second.meter.start();
  nowMs += 1_000;
  const { counters } = await ended(second.meter, second.said);
  assert.equal(counters.runningMs, 899_000 + 1_000);
});

test("a container that is replaced counts once", async () => {
  const { meter, said } = makeMeter();
  meter.onContainer({ isAdopted: false });
  container.processorMs = 500;
  nowMs += 1_000;
  meter.beforeEnd();
  // Until the next one runs, whatever can be read belongs to nobody.
  container.processorMs = 9_999;
  nowMs += 1_000;
  container.processorMs = 20;
  meter.onContainer({ isAdopted: false });
  container.processorMs = 320;
  nowMs += 1_000;
  const { counters } = await ended(meter, said);
  assert.equal(counters.processorMs, 800);
  assert.equal(counters.runningMs, 3_000);
});

test("a file cut short by a power failure begins a new meter", async () => {
  const first = makeMeter();
  nowMs += 1_000;
  const { meterId } = await ended(first.meter, first.said);
  writeFileSync(path, '{"meterId":"0123');
  assert.equal(readUsageFile(path), null);
  const second = makeMeter();
  nowMs += 500;
  const after = await ended(second.meter, second.said);
  assert.notEqual(after.meterId, meterId);
  assert.equal(after.counters.runningMs, 500);
});

test("what is written down reads as it was said, and a full disk costs no report", async () => {
  const { meter, said } = makeMeter();
  nowMs += 1_000;
  const report = await ended(meter, said);
  assert.deepEqual(readUsageFile(path)?.report, report);
  const unwritable = makeMeter({ path: join(path, "below a file", "s.json") });
  nowMs += 1_000;
  assert.equal((await ended(unwritable.meter, unwritable.said)).counters.runningMs, 1_000);
});

test("a spare sprite counts nothing before it is somebody's", async () => {
  const { meter, said } = makeMeter({ isSpare: true });
  meter.onContainer({ isAdopted: false });
  container.processorMs = 300;
  nowMs += 50_000;
  meter.onRest("warm");
  nowMs += 50_000;
  use = { ...use, requests: { get: 2, put: 9, list: 1, delete: 0 } };
  meter.begin();
  meter.onRest("running");
  assert.deepEqual(readUsageFile(path), null);
  await setImmediate();
  use = { ...use, requests: { get: 3, put: 9, list: 1, delete: 0 } };
  container.processorMs = 340;
  nowMs += 2_000;
  const { counters } = await ended(meter, said);
  assert.deepEqual([counters.runningMs, counters.warmMs, counters.processorMs], [2_000, 0, 40]);
  assert.deepEqual([counters.bucketReads, counters.bucketWrites], [1, 0]);
  const spare = makeMeter({ isSpare: true, path: join(directory, "other.json") });
  await spare.meter.end();
  assert.deepEqual(spare.said, []);
});
