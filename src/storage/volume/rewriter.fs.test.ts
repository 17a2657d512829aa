import assert from "node:assert/strict";
import fc from "fast-check";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { test, type TestContext } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { CutRig } from "./testing/cut-rig.ts";

const bytesMax = 64 * unitSizeBytes;

function makeRig(context: TestContext, unitCount = 64): CutRig {
  const rig = new CutRig(unitCount);
  context.after(() => rig.close());
  return rig;
}

/** One segment of ten units, of which two are left: one in the live file, one in a checkpoint only. */
async function makeSparse(rig: CutRig): Promise<number> {
  rig.write(0, 160, 1);
  await rig.cut();
  const segment = rig.map.lookup(rig.map.liveFileId, 0)?.[0]?.segment ?? 0;
  rig.write(32, 128, 2);
  await rig.cut({ checkpoint: true });
  rig.write(16, 16, 3);
  await rig.cut();
  return segment;
}

test("what is left of a sparse segment moves, for all files at once, and the segment goes", async (context) => {
  const rig = makeRig(context);
  const segment = await makeSparse(rig);
  const before = rig.map.statistics();
  assert.equal(await rig.rewrite(bytesMax), true);
  const segments = rig.map.segments();
  assert.equal(segments.find(({ id }) => id === segment)?.isGarbage, true);
  assert.equal(rig.map.statistics().usedBytes, before.usedBytes);
  assert.equal(rig.map.getCheckpoint("v0")?.uniqueBytes, unitSizeBytes, "still shared alike");
  await rig.collect();
  await rig.verify();
  assert.equal(await rig.rewrite(bytesMax), false, "once is enough");
  const { requests } = rig.store.statistics();
  assert.equal(await rig.rewrite(bytesMax), false);
  assert.deepEqual(rig.store.statistics().requests, requests);
});

test("it is looked for once a minute", async (context) => {
  const rig = makeRig(context);
  await makeSparse(rig);
  const isPrepared = async (nowMs: number): Promise<boolean> =>
    (await rig.rewriter.prepareIfDue(nowMs)) !== null;
  assert.equal(await isPrepared(1_000), false);
  assert.equal(await isPrepared(60_999), false);
  assert.equal(await isPrepared(61_000), true);
  assert.equal(await isPrepared(61_001), false);
  assert.equal(await isPrepared(500), true, "a clock that was set back stops nothing");
});

test("no more is rewritten at a time than the budget allows", async (context) => {
  const rig = makeRig(context);
  await makeSparse(rig);
  // Of two units one is named in two leaves, and the map counts both.
  assert.equal(await rig.rewrite(3 * unitSizeBytes - 1), false);
  rig.write(255, 1, 9);
  await rig.cut();
  assert.equal(await rig.rewrite(3 * unitSizeBytes), true);
  await rig.verify();
});

test("units in many pieces become one, also when they are not in the cache", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 32, 1);
  await rig.cut();
  for (let block = 0; block < 7; block++) {
    rig.evict();
    rig.write(2 * block, 1, 2 + block);
    await rig.cut();
  }
  assert.equal(rig.map.lookup(rig.map.liveFileId, 0)?.length, 8);
  assert.equal(await rig.rewrite(bytesMax), true);
  assert.equal(rig.map.lookup(rig.map.liveFileId, 0)?.length, 1);
  await rig.collect();
  await rig.verify();
});

test("many small segments become one", async (context) => {
  const rig = makeRig(context);
  const count = 64;
  for (let unit = 0; unit < count; unit++) {
    if (unit === count - 1) assert.equal(await rig.rewrite(bytesMax), false, "not for a few");
    rig.write(16 * unit, 1, 1 + unit);
    await rig.cut();
  }
  assert.equal(await rig.rewrite(bytesMax), true);
  await rig.cut();
  await rig.collect();
  assert.equal(rig.map.segments().length, 1);
  await rig.verify();
  assert.equal(await rig.rewrite(bytesMax), false, "once is enough");
});

test("what was prepared is dropped when another cut came first, and what was restored meanwhile is kept", async (context) => {
  const rig = makeRig(context);
  const segment = await makeSparse(rig);
  const stale = await rig.rewriter.prepare({ bytesMax });
  rig.write(0, 1, 7);
  await rig.cut();
  await rig.cut({ prepared: stale });
  const [unit] = rig.map.lookupRange(rig.map.checkpointFileId("v0"), 1, 1);
  assert.equal(unit?.[0]?.segment, segment, "nothing was moved in a part of the files");
  await rig.verify();
  for (let block = 0; block < 7; block++) {
    rig.write(32 + block, 1, 8 + block);
    await rig.cut();
  }
  const prepared = await rig.rewriter.prepare({ bytesMax });
  assert.equal(prepared?.collapsed.size, 1);
  rig.restore("v0");
  await rig.cut({ prepared });
  await rig.verify();
});

test("a segment that cannot be read stays, and does not keep the others from moving", async (context) => {
  const rig = makeRig(context);
  const segment = await makeSparse(rig);
  rig.write(512, 160, 1);
  await rig.cut();
  rig.write(528, 144, 2);
  await rig.cut();
  const key = `sprites/rig/${rig.map.segmentKey(segment)}`;
  const bytes = (await rig.store.get(key)) ?? new Uint8Array();
  await rig.store.deleteMany([key]);
  assert.equal(await rig.rewrite(bytesMax), true);
  assert.equal(await rig.rewrite(bytesMax), false);
  await rig.store.put(key, bytes);
  await rig.collect();
  await rig.verify();
  assert.equal(rig.map.segments().find(({ id }) => id === segment)?.isGarbage, false);
});

type Step = (rig: CutRig) => void | Promise<void>;
const block = fc.nat(16 * 8 - 1);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(block, fc.integer({ min: 1, max: 20 }), fc.nat(3)).map(
      ([first, count, value]): Step =>
        (rig) =>
          rig.write(first, Math.min(count, 16 * 8 - first), value),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(block, fc.integer({ min: 1, max: 20 })).map(
      ([first, count]): Step =>
        (rig) =>
          rig.punch(first, Math.min(count, 16 * 8 - first)),
    ),
  },
  { weight: 6, arbitrary: fc.constant<Step>((rig) => rig.cut()) },
  { weight: 1, arbitrary: fc.constant<Step>((rig) => rig.cut({ checkpoint: true })) },
  { weight: 1, arbitrary: fc.constant<Step>((rig) => rig.evict()) },
  { weight: 1, arbitrary: fc.constant<Step>((rig) => rig.collect()) },
  {
    weight: 2,
    arbitrary: fc.nat(20).map((units): Step => async (rig) => {
      await rig.cut();
      await rig.rewrite(units * unitSizeBytes);
    }),
  },
  {
    weight: 1,
    arbitrary: fc.nat(5).map((index): Step => async (rig) => {
      const id = [...rig.checkpoints.keys()][index];
      await rig.cut();
      if (id !== undefined) rig.restore(id);
    }),
  },
  {
    weight: 1,
    arbitrary: fc.nat(5).map((index): Step => (rig) => {
      const id = [...rig.checkpoints.keys()][index];
      if (id !== undefined && id !== rig.map.sourceId) rig.deleteCheckpoint(id);
    }),
  },
);

test("whatever is written, cut, restored, rewritten and collected: all files read as they should", async (context) => {
  let histories = 0;
  const property = fc.asyncProperty(
    fc.array(anyStep, { maxLength: 60, size: "max" }),
    async (steps) => {
      const rig = new CutRig(8, existsSync("/dev/shm") ? "/dev/shm" : tmpdir());
      histories++;
      try {
        for (const step of steps) await step(rig);
        await rig.cut();
        await rig.verify();
        for (let round = 0; await rig.rewrite(bytesMax); round++) assert.ok(round < 50, "it ends");
        await rig.cut();
        await rig.collect();
        await rig.verify();
      } finally {
        await rig.close();
      }
    },
  );
  await fc.assert(property, { numRuns: 150, interruptAfterTimeLimit: 10_000 });
  context.diagnostic(`${histories} histories`);
});
