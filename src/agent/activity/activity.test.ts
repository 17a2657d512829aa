import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "../../base/log.ts";
import { waitUntil } from "../../base/wait.ts";
import type { ActivityItem } from "../../contract/activity.ts";
import { Activity } from "./activity.ts";
import { Nap } from "./nap.ts";
import { RequestMeter } from "./request-meter.ts";
import { sessionSource } from "./session-source.ts";
import { WorkMeter } from "./work-meter.ts";

const log = createLog({ level: "silent", room: "agent" });

test("it is idle since the last thing that held it, and what holds keeps its beginning", () => {
  let nowMs = 1_000;
  let items: ActivityItem[] = [{ kind: "task", name: "build" }];
  const activity = new Activity({
    sources: [{ look: () => items }],
    windowMs: 30_000,
    onIdle: () => undefined,
    now: () => nowMs,
  });
  assert.deepEqual(activity.held(), [{ kind: "task", name: "build", sinceMs: 1_000 }]);
  nowMs = 5_000;
  assert.deepEqual(activity.held(), [{ kind: "task", name: "build", sinceMs: 1_000 }]);
  assert.equal(activity.idleSinceMs(), null);
  items = [];
  nowMs = 7_000;
  assert.equal(activity.idleSinceMs(), 5_000);
  activity.touch();
  assert.equal(activity.idleSinceMs(), 7_000);
});

test("the timer tells of a window in which nothing went on, and a terminal's last word counts", async () => {
  let idle = 0;
  const lastActivityMs = Date.now() + 50;
  const shell = { id: "1", command: "sh", tty: true, lastActivityMs };
  const activity = new Activity({
    sources: [
      sessionSource(() => [
        { ...shell, workdir: "/", createdMs: 0, bytesPerSecond: 0, isActive: false },
      ]),
    ],
    windowMs: 300,
    onIdle: () => (idle += 1),
  });
  activity.start();
  assert.ok(await waitUntil(() => idle > 0, { timeoutMs: 10_000 }));
  assert.ok(Date.now() - lastActivityMs >= 300);
  activity.stop();
});

test("work is what the counters grew by, and a counter that begins anew is none", () => {
  const now = { processorMs: 0, sentBytes: 0 as number | null, diskBytes: 0 };
  const meter = new WorkMeter({
    processorMs: () => now.processorMs,
    sentBytes: () => now.sentBytes,
    diskBytes: () => now.diskBytes,
  });
  const kinds = (atMs: number): string[] => meter.look(atMs).map(({ kind }) => kind);
  assert.deepEqual(kinds(0), []);
  Object.assign(now, { processorMs: 10, sentBytes: 1_000, diskBytes: 4_096 });
  assert.deepEqual(kinds(1_000), []);
  Object.assign(now, { processorMs: 60, sentBytes: 20_000, diskBytes: 1e6 });
  assert.deepEqual(kinds(2_000), ["processor", "network", "disk"]);
  Object.assign(now, { processorMs: 5, sentBytes: null, diskBytes: 0 });
  assert.deepEqual(kinds(3_000), []);
});

function napRig(): {
  nap: Nap;
  steps: string[];
  freezing: PromiseWithResolvers<void>;
  idle: { is: boolean };
} {
  const steps: string[] = [];
  const idle = { is: true };
  const freezing = Promise.withResolvers<void>();
  const nap = new Nap({
    freeze: async () => {
      steps.push("freeze");
      await freezing.promise;
    },
    thaw: async () => void steps.push("thaw"),
    isIdle: () => idle.is,
    onStep: (step, because) => steps.push(`${step}: ${because}`),
    log,
  });
  return { nap, steps, freezing, idle };
}

test("whoever asks while it falls asleep waits for the thaw that follows", async () => {
  const { nap, steps, freezing } = napRig();
  const asleep = nap.fallAsleep("idle");
  const woken = Promise.all([nap.wake("one"), nap.wake("two")]);
  freezing.resolve();
  await Promise.all([asleep, woken]);
  const asleepSteps = ["freezing: idle", "freeze", "frozen: idle"];
  assert.deepEqual(steps, [...asleepSteps, "thawing: one", "thaw", "awake: one"]);
  assert.deepEqual([nap.isAsleep, nap.transition], [false, null]);
});

test("it does not sleep when something came in the last moment, or when it is about to end", async () => {
  const { nap, steps, freezing, idle } = napRig();
  freezing.resolve();
  idle.is = false;
  await nap.fallAsleep("idle");
  const said = "awake: something came while it was being suspended";
  assert.deepEqual(steps, ["freezing: idle", "freeze", "thaw", said]);
  idle.is = true;
  await nap.end("over");
  await nap.fallAsleep("idle");
  assert.equal(steps.length, 4);
});

test("processes that cannot be suspended go on, and are left alone for a while", async () => {
  let nowMs = 0;
  let tries = 0;
  const nap = new Nap({
    freeze: async () => {
      tries += 1;
      throw new Error("stuck");
    },
    thaw: async () => undefined,
    isIdle: () => true,
    onStep: (step) => assert.notEqual(step, "frozen", "it stays awake"),
    log,
    now: () => nowMs,
  });
  await nap.fallAsleep("idle");
  await nap.fallAsleep("idle");
  assert.deepEqual([tries, nap.isAsleep, nap.transition], [1, false, null]);
  nowMs = 60_000;
  await nap.fallAsleep("idle");
  assert.equal(tries, 2);
});

test("a request holds until it is answered, also one that could not be let in", async () => {
  let refuses = false;
  const meter = new RequestMeter({
    wake: async () => {
      if (refuses) throw new Error("it does not wake");
    },
    touch: () => undefined,
  });
  const leave = await meter.enter({ method: "GET", name: "fs/read" });
  assert.deepEqual(meter.look(0), [{ kind: "request", name: "GET fs/read" }]);
  leave();
  assert.deepEqual(meter.look(1_000), []);
  refuses = true;
  await assert.rejects(meter.enter({ method: "POST", name: "exec" }));
  assert.deepEqual(meter.look(2_000), []);
});

test("work that is no reason to wake it waits until somebody does", async () => {
  const { nap, steps, freezing } = napRig();
  await nap.whenAwake();
  freezing.resolve();
  await nap.fallAsleep("idle");
  let goesOn = false;
  const waiting = nap.whenAwake().then(() => (goesOn = true));
  await new Promise(setImmediate);
  assert.deepEqual([goesOn, steps.at(-1)], [false, "frozen: idle"]);
  await nap.wake("a request");
  await waiting;
});
