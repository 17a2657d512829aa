import assert from "node:assert/strict";
import { test } from "node:test";

import { endOfRun } from "./exit.ts";
import { restartMsMax, restartMsMin, steadyLifeMs } from "./limits.ts";
import { RestartPolicy } from "./restart-policy.ts";

test("restarts come ever more slowly, to a bound, and quickly again after a steady life", () => {
  const policy = new RestartPolicy();
  const delays = Array.from({ length: 10 }, () => policy.delayAfter(0));
  assert.deepEqual(delays.slice(0, 3), [restartMsMin, 2 * restartMsMin, 4 * restartMsMin]);
  assert.equal(delays.at(-1), restartMsMax);
  assert.equal(policy.delayAfter(steadyLifeMs), restartMsMin);
  policy.delayAfter(0);
  policy.reset();
  assert.equal(policy.delayAfter(0), restartMsMin);
});

test("an end is judged by its exit code, and by whether it was asked for", () => {
  assert.deepEqual(endOfRun(0, { wasSignalled: false }).isFailure, false);
  assert.deepEqual(endOfRun(0, { wasSignalled: true }).isFailure, true);
  assert.equal(endOfRun(3, { wasSignalled: false }).text, "exited with code 3");
  assert.equal(
    endOfRun(137, { wasSignalled: false }).text,
    "exited with code 137, as after SIGKILL",
  );
  assert.equal(endOfRun(255, { wasSignalled: false }).text, "exited with code 255");
  assert.equal(endOfRun(null, { wasSignalled: false }).isFailure, true);
});
