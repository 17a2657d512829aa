import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { createLog } from "../../base/log.ts";
import { waitUntil } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { TaskRecords } from "./task-records.ts";
import { Tasks } from "./tasks.ts";

const directory = mkdtempSync(join(tmpdir(), "tasks-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const log = createLog({ level: "silent", room: "agent" });
let made = 0;

function startTasks(): { tasks: Tasks; path: string; clock: { nowMs: number } } {
  const path = join(directory, `${++made}.json`);
  const clock = { nowMs: 1_000_000 };
  const tasks = new Tasks({ records: new TaskRecords(path, log), now: () => clock.nowMs });
  return { tasks, path, clock };
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof SpriteError && error.code === expected;
}

describe("tasks", () => {
  test("one holds until it expires, and then its name is free", () => {
    const { tasks, clock } = startTasks();
    tasks.start("build", 60_000);
    assert.throws(() => tasks.start("build", 60_000), code("already_exists"));
    clock.nowMs += 59_999;
    assert.deepEqual(tasks.wakeHolds(), [{ kind: "task", name: "build", untilMs: 1_060_000 }]);
    clock.nowMs += 1;
    assert.deepEqual(tasks.wakeHolds(), []);
    assert.throws(() => tasks.get("build"), code("not_found"));
    tasks.start("build", 60_000);
  });

  test("a refresh counts from now, keeps the start, and starts one that is not there", () => {
    const { tasks, clock } = startTasks();
    tasks.refresh("build", 60_000);
    clock.nowMs += 50_000;
    const { startedAtMs, expiresAtMs } = tasks.refresh("build", 60_000);
    assert.deepEqual(
      { startedAtMs, expiresAtMs },
      { startedAtMs: 1_000_000, expiresAtMs: 1_110_000 },
    );
  });

  test("there are at most a hundred; ending one makes room", () => {
    const { tasks } = startTasks();
    for (let n = 0; n < 100; n++) tasks.start(`task-${n}`, 60_000);
    assert.throws(() => tasks.start("more", 60_000), code("conflict"));
    assert.throws(() => tasks.refresh("more", 60_000), code("conflict"));
    tasks.refresh("task-7", 60_000);
    tasks.end("task-7");
    tasks.start("more", 60_000);
    assert.throws(() => tasks.end("task-7"), code("not_found"));
  });

  test("an agent that takes over goes on with them", () => {
    const { tasks, path, clock } = startTasks();
    tasks.start("kept", 60_000);
    tasks.start("over", 1_000);
    tasks.start("ended", 60_000);
    tasks.end("ended");
    clock.nowMs += 30_000;
    const next = new Tasks({ records: new TaskRecords(path, log), now: () => clock.nowMs });
    assert.deepEqual(next.list(), []);
    next.adopt();
    assert.deepEqual(
      next.list().map(({ name }) => name),
      ["kept"],
    );
  });

  test("a clock that is set back makes none last for ever, and ends none", () => {
    const { tasks, clock } = startTasks();
    tasks.start("build", 3_600_000);
    clock.nowMs -= 500_000;
    const [task] = tasks.list();
    assert.equal(task?.expiresAtMs, clock.nowMs + 3_600_000);
  });

  test("records that cannot be written end nothing", () => {
    const tasks = new Tasks({ records: new TaskRecords(join(directory, "no", "where"), log) });
    tasks.start("build", 60_000);
    assert.equal(tasks.list().length, 1);
  });

  test("whoever listens hears of starts, refreshes and ends, and of an expiry by itself", async () => {
    const tasks = new Tasks({ records: new TaskRecords(join(directory, "heard.json"), log) });
    let heard = 0;
    const stop = tasks.onWakeHoldsChange(() => (heard += 1));
    tasks.start("a", 60_000);
    tasks.refresh("a", 60_000);
    tasks.end("a");
    assert.equal(heard, 3);
    tasks.start("b", 20);
    assert.ok(await waitUntil(() => heard >= 5, { timeoutMs: 10_000 }));
    assert.deepEqual(tasks.wakeHolds(), []);
    stop();
    tasks.start("c", 60_000);
    assert.ok(heard >= 5 && tasks.wakeHolds().length === 1);
  });
});
