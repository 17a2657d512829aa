import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "../../base/log.ts";
import { Organizations } from "../organizations.ts";
import { startHarness } from "../testing/harness.ts";
import { Alarm } from "./alarm.ts";

const log = createLog({ level: "silent", room: "control" });

test("a schedule is kept, shown and taken away, and wrong ones are refused", async () => {
  await using harness = await startHarness();
  await harness.call("POST", "/v1/sprites", { name: "box" });
  const path = "/v1/sprites/box/schedule";
  assert.deepEqual((await harness.call("GET", path)).body, { cron: null, at: null, next_at: null });
  const { status, body } = await harness.call("PUT", path, { cron: "*/5 * * * *" });
  assert.equal(status, 200);
  assert.match(String(body["next_at"]), /:[0-5][05]:00/);
  assert.deepEqual((await harness.call("GET", path)).body, body);
  for (const wrong of [{}, { cron: "* *" }, { at: "2001-01-01T00:00:00Z" }, []]) {
    assert.equal((await harness.call("PUT", path, wrong)).status, 400);
  }
  assert.equal((await harness.call("DELETE", path)).status, 204);
  assert.equal((await harness.call("GET", path)).body["next_at"], null);
  assert.equal((await harness.call("GET", "/v1/sprites/none/schedule")).status, 404);
});

test("what is due is woken once, also when no server ran at its time, and again when it failed", async () => {
  await using harness = await startHarness();
  await harness.call("POST", "/v1/sprites", { name: "box" });
  await harness.call("PUT", "/v1/sprites/box/schedule", { cron: "0 * * * *" });
  const organizations = new Organizations(harness.dataDirectory);
  const woken: string[] = [];
  let nowMs = Date.now();
  let fails = true;
  const alarm = new Alarm({
    organizations: () => organizations.all(),
    wake: async (_, id) => {
      woken.push(id);
      if (fails) throw new Error("no room");
    },
    now: () => nowMs,
    log,
  });
  await alarm.look();
  assert.equal(woken.length, 0);
  // Nobody looked for a day.
  nowMs += 24 * 3_600_000;
  await alarm.look();
  await alarm.look();
  assert.equal(woken.length, 1);
  fails = false;
  nowMs += 60_000;
  await alarm.look();
  await alarm.look();
  assert.equal(woken.length, 2);
  nowMs += 3_600_000;
  await alarm.look();
  assert.equal(woken.length, 3);
  organizations.close();
});
