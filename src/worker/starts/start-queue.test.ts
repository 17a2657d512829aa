import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turnOfLoop } from "node:timers/promises";
import { waitUntil } from "../../base/wait.ts";
import { StartQueue, type StartQueueOptions } from "./start-queue.ts";

function queueWith(options: Partial<StartQueueOptions> = {}): StartQueue {
  return new StartQueue({
    ...{ countMax: 2, waitMsMax: 60_000, waitersMax: 100, roomLookMs: 1 },
    ...options,
  });
}

const urgent = { isUrgent: true };

describe("start queue", () => {
  test("never more at once than may, and in the order in which they came", async () => {
    const queue = queueWith();
    const begun: number[] = [];
    let underWayMax = 0;
    const start = async (id: number): Promise<void> => {
      const leave = await queue.enter(urgent);
      begun.push(id);
      underWayMax = Math.max(underWayMax, queue.counts.underWay);
      await turnOfLoop();
      leave();
      leave();
    };
    const ids = Array.from({ length: 20 }, (_, id) => id);
    await Promise.all(ids.map(start));
    assert.deepEqual(begun, ids);
    assert.equal(underWayMax, 2);
    assert.deepEqual(queue.counts, { underWay: 0, waiting: 0 });
  });

  test("what nobody waits for comes after everything that somebody does", async () => {
    const queue = queueWith({ countMax: 1 });
    const leaveFirst = await queue.enter(urgent);
    const order: string[] = [];
    const enter = async (name: string, isUrgent: boolean): Promise<void> => {
      const leave = await queue.enter({ isUrgent });
      order.push(name);
      leave();
    };
    const all = [enter("pool", false), enter("one", true), enter("two", true)];
    leaveFirst();
    await Promise.all(all);
    assert.deepEqual(order, ["one", "two", "pool"]);
  });

  test("whoever gets no turn in time is told when to come again, and takes none later", async () => {
    const queue = queueWith({ countMax: 1, waitMsMax: 20 });
    const leave = await queue.enter(urgent);
    await assert.rejects(queue.enter(urgent), (error: { code?: string; details?: object }) => {
      assert.equal(error.code, "unavailable");
      assert.deepEqual(error.details, { retry_after_seconds: 5 });
      return true;
    });
    leave();
    assert.deepEqual(queue.counts, { underWay: 0, waiting: 0 });
    (await queue.enter(urgent))();
  });

  test("one that is stopped while it waits leaves at once", async () => {
    const queue = queueWith({ countMax: 1 });
    const leave = await queue.enter(urgent);
    const stopping = new AbortController();
    const waiting = queue.enter({ isUrgent: true, signal: stopping.signal });
    stopping.abort(new Error("stopped"));
    await assert.rejects(waiting, /stopped/);
    assert.deepEqual(queue.counts, { underWay: 1, waiting: 0 });
    leave();
    await assert.rejects(queue.enter({ isUrgent: true, signal: stopping.signal }), /stopped/);
  });

  test("a line that is too long takes nobody", async () => {
    const queue = queueWith({ countMax: 1, waitersMax: 1 });
    const leave = await queue.enter(urgent);
    const second = queue.enter(urgent);
    await assert.rejects(queue.enter(urgent), { code: "unavailable" });
    leave();
    (await second)();
  });

  test("starts wait while the machine has no memory for them", async () => {
    let hasRoom = false;
    let looks = 0;
    const queue = queueWith({
      hasRoom: async () => {
        looks += 1;
        return await Promise.resolve(hasRoom);
      },
    });
    const turn = queue.enter(urgent);
    assert.ok(await waitUntil(() => looks > 3, { timeoutMs: 30_000, intervalMs: 1 }));
    assert.deepEqual(queue.counts, { underWay: 0, waiting: 1 });
    hasRoom = true;
    (await turn)();
  });
});
