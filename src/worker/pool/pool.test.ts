import assert from "node:assert/strict";
import { test } from "node:test";

import { createLog } from "../../base/log.ts";
import { waitUntil } from "../../base/wait.ts";
import { spareAgeMsMax } from "./limits.ts";
import { Pool, type PoolParts } from "./pool.ts";

const timeoutMs = 30_000;

interface Rig {
  pool: Pool;
  made: string[];
  destroyed: string[];
  /** What the next ones do instead of standing by. */
  faults: Error[];
  state: { busy: boolean; freeShare: number; nowMs: number; makingMax: number };
}

function rig(size: number, parts: Partial<PoolParts> = {}): Rig {
  const state = { busy: false, freeShare: 0.9, nowMs: 0, makingMax: 0 };
  const [made, destroyed, faults]: [string[], string[], Error[]] = [[], [], []];
  let making = 0;
  const pool = new Pool({
    size,
    make: async (spriteId) => {
      making += 1;
      state.makingMax = Math.max(state.makingMax, making);
      await new Promise(setImmediate);
      making -= 1;
      const fault = faults.shift();
      if (fault !== undefined) throw fault;
      made.push(spriteId);
    },
    destroy: async (spriteId) => void destroyed.push(spriteId),
    newId: () => `spare-${made.length}-${destroyed.length}`,
    isBusy: () => state.busy,
    freeShare: async () => state.freeShare,
    now: () => state.nowMs,
    pace: 0.02,
    log: createLog({ level: "silent", room: "test" }),
    ...parts,
  });
  return { pool, made, destroyed, faults, state };
}

async function untilReady({ pool }: Rig, count: number): Promise<void> {
  const isReady = (): boolean => pool.state.ready === count && pool.state.making === 0;
  assert.ok(await waitUntil(isReady, { timeoutMs }), JSON.stringify(pool.state));
}

test("it fills one at a time, and makes a new one for each that is claimed", async () => {
  const given = rig(3);
  given.pool.start();
  await untilReady(given, 3);
  assert.equal(given.state.makingMax, 1);
  const reserved = given.pool.reserve();
  assert.ok(reserved !== null && given.pool.claim(reserved.spriteId));
  reserved.release();
  await untilReady(given, 3);
  assert.equal(given.made.length, 4);
  assert.notEqual(given.pool.reserve()?.spriteId, reserved.spriteId, "nobody gets it again");
  await given.pool.stop();
  assert.ok(!given.destroyed.includes(reserved.spriteId), "it is somebody's");
  assert.equal(given.destroyed.length, 3, "those that are nobody's go");
});

test("two who come at once get two, and one that was given back is there again", async () => {
  const given = rig(2);
  given.pool.start();
  await untilReady(given, 2);
  const [one, other] = [given.pool.reserve(), given.pool.reserve()];
  assert.ok(one !== null && other !== null);
  assert.notEqual(one.spriteId, other.spriteId);
  other.release();
  other.release();
  assert.equal(given.pool.reserve()?.spriteId, other.spriteId);
  await given.pool.stop();
  assert.equal(given.pool.reserve(), null);
});

test("an empty pool has nothing to give, and neither has one of size 0", async () => {
  const none = rig(0);
  none.pool.start();
  none.pool.noteCreate();
  assert.equal(none.pool.reserve(), null);
  assert.deepEqual(none.pool.state, { ready: 0, target: 0, making: 0 });
  await none.pool.stop();
});

test("one that ends by itself is removed and replaced, also while it is reserved", async () => {
  const given = rig(1);
  given.pool.start();
  await untilReady(given, 1);
  const [first = ""] = given.made;
  given.pool.onLost(first);
  await untilReady(given, 1);
  const reserved = given.pool.reserve();
  assert.ok(reserved !== null);
  given.pool.onLost(reserved.spriteId);
  assert.equal(given.pool.claim(reserved.spriteId), false);
  reserved.release();
  assert.deepEqual(given.destroyed, [first, reserved.spriteId]);
  await given.pool.stop();
});

test("what was not made is removed, and tried again later", async () => {
  const given = rig(1);
  given.faults.push(new Error("no room"));
  given.pool.start();
  await untilReady(given, 1);
  assert.equal(given.destroyed.length, 1);
  await given.pool.stop();
});

test("while somebody waits for a start nothing is made, but not for ever", async () => {
  const given = rig(1);
  given.state.busy = true;
  given.pool.start();
  await new Promise(setImmediate);
  assert.equal(given.made.length, 0);
  await untilReady(given, 1);
  await given.pool.stop();
});

test("short memory empties it, and plenty fills it again; the old are replaced", async () => {
  const given = rig(2);
  given.pool.start();
  await untilReady(given, 2);
  given.state.freeShare = 0.05;
  await untilReady(given, 0);
  given.state.freeShare = 0.9;
  await untilReady(given, 2);
  const goneBefore = given.destroyed.length;
  given.state.nowMs += spareAgeMsMax;
  assert.ok(await waitUntil(() => given.destroyed.length === goneBefore + 2, { timeoutMs }));
  await untilReady(given, 2);
  await given.pool.stop();
});

test("a stop in the middle of making leaves nothing", async () => {
  const hanging = Promise.withResolvers<void>();
  const destroyed: string[] = [];
  const given = rig(1, {
    make: () => hanging.promise,
    destroy: async (spriteId) => {
      destroyed.push(spriteId);
      hanging.reject(new Error("it was stopped"));
    },
  });
  given.pool.start();
  assert.ok(await waitUntil(() => given.pool.state.making === 1, { timeoutMs }));
  await given.pool.stop();
  assert.equal(destroyed.length, 1);
  assert.equal(given.pool.state.ready, 0);
});
