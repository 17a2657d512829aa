import assert from "node:assert/strict";
import { test } from "node:test";

import { destroyedKnownMs } from "./limits.ts";
import { Lives } from "./lives.ts";

test("a destroyed sprite's life is known for a while, and then takes no memory", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const lives = new Lives((spriteId) => ({ spriteId }));
  const life = lives.of("sprite-1");
  const other = lives.of("sprite-2");
  lives.forgetLater("sprite-1");
  lives.forgetLater("sprite-3");
  context.mock.timers.tick(destroyedKnownMs - 1);
  assert.equal(lives.of("sprite-1"), life);
  context.mock.timers.tick(1);
  assert.equal(lives.find("sprite-1"), undefined);
  assert.deepEqual([...lives.values()], [other]);
});
