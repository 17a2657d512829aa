import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { blockSizeBytes } from "../block-map/geometry.ts";
import { CutRig } from "./testing/cut-rig.ts";

function makeRig(context: TestContext, unitCount = 64): CutRig {
  const rig = new CutRig(unitCount);
  context.after(() => rig.close());
  return rig;
}

const storedBlocks = async (rig: CutRig, work: () => Promise<void>): Promise<number> => {
  const before = rig.segmentBytes;
  await work();
  // Without the header of the one segment.
  return (rig.segmentBytes - before) / blockSizeBytes - 1;
};

test("a cut stores the blocks that changed and fetches nothing, however little of the unit is cached", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 64, 1);
  await rig.cut();
  rig.evict();
  const { requests } = rig.store.statistics();
  rig.write(5, 1, 2);
  rig.write(18, 3, 2);
  rig.punch(7, 2);
  assert.equal(await storedBlocks(rig, () => rig.cut()), 4);
  assert.deepEqual(rig.store.statistics().requests.get, requests.get);
  await rig.verify();
});

test("a unit that is mostly dirty is stored whole if it is here, so that sequential writes stay in order", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 64, 1);
  await rig.cut();
  rig.write(4, 9, 2);
  assert.equal(await storedBlocks(rig, () => rig.cut()), 16);
  rig.evict();
  rig.write(4, 9, 3);
  assert.equal(await storedBlocks(rig, () => rig.cut()), 9, "the rest is not here");
  rig.write(16, 48, 4);
  assert.equal(await storedBlocks(rig, () => rig.cut()), 48);
  const layouts = rig.map.lookupRange(rig.map.liveFileId, 1, 3);
  const places = layouts.map((layout) => layout?.map(({ offsetBlocks }) => offsetBlocks));
  assert.deepEqual(places, [[1], [17], [33]]);
  await rig.verify();
});

test("zeros are never stored, written or trimmed", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 16, 1);
  rig.write(16, 16, 0);
  assert.equal(await storedBlocks(rig, () => rig.cut()), 16);
  assert.equal(rig.map.lookup(rig.map.liveFileId, 1), null);
  rig.write(3, 1, 0);
  rig.punch(5, 1);
  await rig.cut();
  assert.equal(rig.map.statistics().usedBytes, 14 * blockSizeBytes);
  rig.punch(0, 16);
  await rig.cut();
  assert.equal(rig.map.lookup(rig.map.liveFileId, 0), null);
  await rig.verify();
});

test("a cut that is taken back leaves its blocks dirty for the next one", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 16, 1);
  await rig.cut();
  rig.write(2, 1, 2);
  const commit = rig.map.commitCut.bind(rig.map);
  rig.map.commitCut = () => {
    throw new Error("injected");
  };
  await assert.rejects(rig.cut(), /injected/);
  rig.map.commitCut = commit;
  await rig.cut();
  await rig.verify();
});

/** The log can grow no more while the reserve takes the last of the disk. */
function fillLog({ local, directory }: CutRig): void {
  const { log } = local.cache;
  const append = log.append.bind(log);
  log.append = () => {
    const isFull = statSync(join(directory, "cache", "reserve")).size > 0;
    if (isFull) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    append();
  };
}

test("a cut that finds no room in the log, not even for what is evicted, gives the reserve to the next", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 32, 1);
  await rig.cut();
  rig.write(2, 1, 2);
  fillLog(rig);
  await assert.rejects(rig.cut(), { code: "disk_full" });
  await rig.cut();
  await rig.verify();
});

test("a commit that finds the disk full gives the reserve to the next, though nothing can be evicted", async (context) => {
  const rig = makeRig(context);
  rig.write(0, 32, 1);
  await rig.cut();
  rig.write(2, 1, 2);
  const commit = rig.map.commitCut.bind(rig.map);
  rig.map.commitCut = () => {
    rig.map.commitCut = commit;
    fillLog(rig);
    throw Object.assign(new Error("no space"), { code: "ENOSPC" });
  };
  await assert.rejects(rig.cut(), { code: "disk_full" });
  await rig.cut();
  await rig.verify();
});
