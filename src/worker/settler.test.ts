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
  assert.ok(await waitUntil(() => tried.length === 4, { timeoutMs: 30_000, intervalMs: 1 }));
  settler.add("two");
  assert.ok(await waitUntil(() => tried.length === 5, { timeoutMs: 30_000, intervalMs: 1 }));
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
  assert.ok(await waitUntil(() => tried.length === 1, { timeoutMs: 30_000, intervalMs: 1 }));
  let isLeft = false;
  const left = settler.leave("one").then(() => (isLeft = true));
  await settler.leave("two");
  assert.ok(!isLeft);
  gate.resolve();
  await left;
  await settler.stop();
  assert.deepEqual(tried, ["one"]);
});

test("an attempt that fails while an agent waits for the disk is the last one", async () => {
  const tried: string[] = [];
  const gate = Promise.withResolvers<void>();
  const settler = new Settler({
    retryMs: 1,
    log,
    settle: async (spriteId) => {
      tried.push(spriteId);
      if (spriteId === "one") await gate.promise;
    },
  });
  settler.add("one");
  assert.ok(await waitUntil(() => tried.length === 1, { timeoutMs: 30_000, intervalMs: 1 }));
  const left = settler.leave("one");
  gate.reject(new Error("the bucket is away"));
  await left;
  // Another attempt at the first would come before this: its pause began earlier, and is shorter.
  settler.add("two", 4);
  assert.ok(await waitUntil(() => tried.length > 1, { timeoutMs: 30_000, intervalMs: 1 }));
  assert.deepEqual(tried, ["one", "two"]);
  await settler.stop();
});

test("nothing is tried any more once it has stopped, also not again", async () => {
  let tries = 0;
  const gate = Promise.withResolvers<void>();
  const settler = new Settler({
    retryMs: 1,
    log,
    settle: async () => {
      tries++;
      await gate.promise;
    },
  });
  settler.add("one");
  assert.ok(await waitUntil(() => tries === 1, { timeoutMs: 30_000, intervalMs: 1 }));
  const stopped = settler.stop();
  gate.reject(new Error("the bucket is away"));
  await stopped;
  settler.add("two");
  assert.ok(!(await waitUntil(() => tries > 1, { timeoutMs: 50, intervalMs: 1 })));
});
