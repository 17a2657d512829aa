import assert from "node:assert/strict";
import { test } from "node:test";
import { blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import { allocatedBytes, Eviction } from "./eviction.ts";
import { slowWriteDirtyBytesMin, slowWriteMsMax } from "./limits.ts";
import { control } from "./shared-state.ts";
import { CacheModel, punchHole } from "./testing/cache-model.ts";

const mebibyte = 2 ** 20;

async function makeModel(unitCount: number): Promise<CacheModel> {
  const model = new CacheModel(unitCount);
  for (let unit = 0; unit < unitCount; unit++) model.write(unit * blocksPerUnit, blocksPerUnit, 9);
  model.begin();
  await model.finish({ isKilled: false });
  return model;
}

test("caches that share a disk give back what it needs, each a part, and no more than it needs", async () => {
  const models = [await makeModel(160), await makeModel(160)];
  const otherFiles = 70 * mebibyte;
  const diskSpace = (): { freeBytes: number; sizeBytes: number } => {
    const cached = models.reduce((sum, { local }) => sum + allocatedBytes(local.cache), 0);
    return { freeBytes: 100 * mebibyte - otherFiles - cached, sizeBytes: 100 * mebibyte };
  };
  try {
    assert.equal(diskSpace().freeBytes, 10 * mebibyte);
    const evictions = models.map(
      ({ local }) =>
        new Eviction(local.cache, {
          ...{ punchHole, sizeBytesMax: 2 ** 40, freeBytesMin: 14 * mebibyte, diskSpace },
        }),
    );
    for (let turn = 0; turn < 6; turn++) for (const eviction of evictions) eviction.run();
    const { freeBytes } = diskSpace();
    assert.ok(freeBytes >= 14 * mebibyte && freeBytes <= 17 * mebibyte, `${freeBytes} free`);
    for (const model of models) {
      assert.ok(allocatedBytes(model.local.cache) > 5 * mebibyte, "each has given a part");
      model.verifyRead(0, 160 * blocksPerUnit);
    }
  } finally {
    for (const model of models) model.close();
  }
});

test("the usual floor is a tenth of the disk, and at most 20 GiB", async () => {
  const model = await makeModel(4);
  const dropped = (freeBytes: number, sizeBytes: number): number =>
    new Eviction(model.local.cache, {
      ...{ punchHole, sizeBytesMax: 2 ** 40, diskSpace: () => ({ freeBytes, sizeBytes }) },
    }).run();
  try {
    assert.equal(dropped(101 * mebibyte, 1_000 * mebibyte), 0);
    assert.equal(dropped(21 * 2 ** 30, 2 ** 42), 0);
    assert.ok(dropped(99 * mebibyte, 1_000 * mebibyte) > 0);
  } finally {
    model.close();
  }
});

test("writers are slowed while the disk fills up, the more the less is left, and never for ever", async () => {
  const unitCount = slowWriteDirtyBytesMin / unitSizeBytes;
  const model = new CacheModel(unitCount);
  const delayAt = (freeBytes: number): number => {
    const space = { freeBytes, sizeBytes: 1_000 * mebibyte };
    const { cache } = model.local;
    new Eviction(cache, { punchHole, sizeBytesMax: 2 ** 40, diskSpace: () => space }).run();
    return cache.state.control[control.writeDelayMs] as number;
  };
  try {
    model.write(0, (unitCount - 1) * blocksPerUnit, 5);
    assert.equal(delayAt(0), 0, "little is written between two cuts");
    model.write((unitCount - 1) * blocksPerUnit, blocksPerUnit, 5);
    assert.equal(delayAt(200 * mebibyte), 0);
    assert.equal(delayAt(30 * mebibyte), 0);
    const delays = [20, 10, 5, 0].map((free) => delayAt(free * mebibyte));
    assert.deepEqual(
      delays.toSorted((a, b) => a - b),
      delays,
    );
    assert.ok((delays[0] as number) > 0);
    assert.equal(delays.at(-1), slowWriteMsMax);
    model.begin();
    await model.finish({ isKilled: false });
    assert.equal(delayAt(0), 0, "all of it is stored");
  } finally {
    model.close();
  }
});
