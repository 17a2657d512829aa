import assert from "node:assert/strict";
import { test } from "node:test";

import { restartDelayMsMax, restartDelayMsMin, shortLifeMsMax } from "./limits.ts";
import { RestartPace } from "./restart-pace.ts";

test("short lives in a row are followed ever later, up to a limit", () => {
  const pace = new RestartPace();
  const delays = Array.from({ length: 12 }, () => pace.delayAfter(100));
  assert.deepEqual(delays.slice(0, 4), [
    0,
    restartDelayMsMin,
    2 * restartDelayMsMin,
    4 * restartDelayMsMin,
  ]);
  assert.equal(delays.at(-1), restartDelayMsMax);
});

test("a long life makes up for the short ones", () => {
  const pace = new RestartPace();
  for (let n = 0; n < 5; n++) pace.delayAfter(0);
  assert.equal(pace.delayAfter(shortLifeMsMax), 0);
  assert.equal(pace.delayAfter(0), 0);
});
