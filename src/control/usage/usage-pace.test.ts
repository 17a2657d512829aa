import assert from "node:assert/strict";
import { test } from "node:test";
import type { Organization } from "../organization.ts";
import { usageQuestionsMax } from "./limits.ts";
import { UsagePace } from "./usage-pace.ts";

const acme = {} as Organization;
const other = {} as Organization;

test("questions are answered in order, a failed one too, and another organization's at once", async () => {
  const pace = new UsagePace();
  const done: string[] = [];
  const failed = pace.run(acme, () => {
    throw new Error("no");
  });
  const first = pace.run(acme, () => done.push("first"));
  const second = pace.run(acme, () => done.push("second"));
  await pace.run(other, () => done.push("other"));
  await assert.rejects(failed, /^Error: no$/);
  await Promise.all([first, second]);
  assert.deepEqual(done, ["other", "first", "second"]);
});

test("those that wait are bounded", async () => {
  const pace = new UsagePace();
  const all = Array.from({ length: usageQuestionsMax }, () => pace.run(acme, () => 1));
  await assert.rejects(
    pace.run(acme, () => 1),
    { code: "rate_limited" },
  );
  assert.equal((await Promise.all(all)).length, usageQuestionsMax);
  assert.equal(await pace.run(acme, () => 2), 2);
});
