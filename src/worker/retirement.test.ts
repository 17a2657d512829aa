import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "../base/log.ts";
import { Retirement } from "./retirement.ts";

const log = createLog({ level: "silent", room: "worker" });

function rig(options: { warmMsMax: number | null }): {
  retirement: Retirement;
  clock: { nowMs: number };
  memory: { freeShare: number };
  needed: Set<string>;
  retired: string[];
} {
  const clock = { nowMs: 0 };
  const memory = { freeShare: 1 };
  const needed = new Set<string>();
  const retired: string[] = [];
  const retirement = new Retirement({
    ...options,
    retire: async (spriteId, because) => {
      if (needed.has(spriteId)) return false;
      retired.push(`${spriteId}: ${because}`);
      return true;
    },
    freeShare: async () => memory.freeShare,
    now: () => clock.nowMs,
    log,
  });
  return { retirement, clock, memory, needed, retired };
}

test("one that has slept for long is ended, and one that woke in between begins anew", async () => {
  const { retirement, clock, retired } = rig({ warmMsMax: 1_000 });
  retirement.onAsleep("a");
  retirement.onAsleep("b");
  clock.nowMs = 900;
  retirement.onAwake("b");
  retirement.onAsleep("b");
  await retirement.look();
  assert.deepEqual(retired, []);
  clock.nowMs = 1_000;
  await retirement.look();
  assert.deepEqual(retired, ["a: it had been suspended for long"]);
  retirement.stop();
});

test("when memory is short the ones that slept longest go, until it is not", async () => {
  const { retirement, memory, needed, retired } = rig({ warmMsMax: null });
  for (const name of ["a", "b", "c"]) retirement.onAsleep(name);
  needed.add("a");
  await retirement.look();
  assert.deepEqual(retired, []);
  memory.freeShare = 0.05;
  await retirement.look();
  assert.deepEqual(
    retired.map((line) => line[0]),
    ["b", "c"],
  );
  retirement.stop();
});
