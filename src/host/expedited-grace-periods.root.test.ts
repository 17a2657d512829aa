import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { withExpeditedGracePeriods } from "./expedited-grace-periods.ts";

const read = (): string => readFileSync("/sys/kernel/rcu_expedited", "utf8").trim();

test("the switch is on during the work and as before after it, also after a failure", async () => {
  const before = read();
  await withExpeditedGracePeriods(() => {
    assert.equal(read(), "1");
    return Promise.resolve();
  });
  assert.equal(read(), before);
  const failing = withExpeditedGracePeriods(() => Promise.reject(new Error("freeze failed")));
  await assert.rejects(failing, /freeze failed/);
  assert.equal(read(), before);
});

test("of two at once neither leaves it on", async () => {
  const before = read();
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const runs = [first, second].map(({ promise }) => withExpeditedGracePeriods(() => promise));
  first.resolve();
  await runs[0];
  second.resolve();
  await runs[1];
  assert.equal(read(), before);
});
