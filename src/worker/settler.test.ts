import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { waitUntil } from "../base/wait.ts";
import { Settler } from "./settler.ts";

const log = pino({ level: "silent" });

test("a disk is tried until it is settled, and then no more", async () => {
  const tried: string[] = [];
  const settler = new Settler({
    retryMs: 1,
    log,
    settle: async (spriteId) => {
      tried.push(spriteId);
      if (tried.length < 4) throw new Error("the bucket is away");
    },
  });
  settler.add("one");
  settler.add("one");
  assert.ok(await waitUntil(() => tried.length === 4, { timeoutMs: 5_000, intervalMs: 1 }));
  settler.add("two");
  assert.ok(await waitUntil(() => tried.length === 5, { timeoutMs: 5_000, intervalMs: 1 }));
  assert.deepEqual(tried, ["one", "one", "one", "one", "two"]);
  await settler.stop();
});

test("a disk that an agent is to have is left alone, after the attempt that is under way", async () => {
  const tried: string[] = [];
  const gate = Promise.withResolvers<void>();
  const settler = new Settler({
    retryMs: 1,
    log,
    settle: async (spriteId) => {
      tried.push(spriteId);
      await gate.promise;
    },
  });
  settler.add("one");
  settler.add("two");
  assert.ok(await waitUntil(() => tried.length === 1, { timeoutMs: 5_000, intervalMs: 1 }));
  let isLeft = false;
  const left = settler.leave("one").then(() => (isLeft = true));
  await settler.leave("two");
  assert.ok(!isLeft);
  gate.resolve();
  await left;
  await settler.stop();
  assert.deepEqual(tried, ["one"]);
});
