import assert from "node:assert/strict";
import { test } from "node:test";
import { nextOfCron, nextOfSchedule, parseCron, scheduleSchema } from "./schedule.ts";

function next(cron: string, after: string): string | null {
  const parsed = parseCron(cron);
  assert.ok(parsed !== null, cron);
  const timeMs = nextOfCron(parsed, Date.parse(after));
  return timeMs === null ? null : new Date(timeMs).toISOString();
}

test("a cron expression says the next minute, in UTC", () => {
  const tuesday = "2026-11-24T15:47:30Z";
  assert.equal(next("* * * * *", tuesday), "2026-11-24T15:48:00.000Z");
  assert.equal(next("47 15 * * *", tuesday), "2026-11-25T15:47:00.000Z");
  assert.equal(next("0 6 * * 1-5", "2026-11-27T07:00:00Z"), "2026-11-30T06:00:00.000Z");
  assert.equal(next("*/20 8-9 * * *", tuesday), "2026-11-25T08:00:00.000Z");
  assert.equal(next("0 0 29 2 *", tuesday), "2028-02-29T00:00:00.000Z");
  assert.equal(next("0 0 31 2 *", tuesday), null);
  assert.equal(next("0 12 1 * 0", tuesday), "2026-11-29T12:00:00.000Z");
  assert.equal(next("0 12 * * 7", tuesday), "2026-11-29T12:00:00.000Z");
  assert.equal(next("30 5,17 * * *", tuesday), "2026-11-24T17:30:00.000Z");
});

test("what is no schedule is refused", () => {
  for (const cron of ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "5-1 * * * *"]) {
    assert.equal(parseCron(cron), null, cron);
  }
  for (const cron of ["*/0 * * * *", "a * * * *", "1,, * * * *", `${"1,".repeat(200)}1 * * * *`]) {
    assert.equal(parseCron(cron), null, cron);
  }
  for (const body of [{}, { at: "2001-01-01T00:00:00Z" }, { at: "soon" }, { cron: 5 }, null]) {
    assert.equal(scheduleSchema.safeParse(body).success, false);
  }
  const at = "2096-01-01T00:00:00Z";
  assert.deepEqual(scheduleSchema.parse({ at }), { cron: null, atMs: Date.parse(at) });
  assert.equal(nextOfSchedule({ cron: null, atMs: 5 }, 5), null);
});
