import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";

import {
  burstMemoryMs,
  burstMs,
  freeShareMin,
  freeShareToGrow,
  growthFactorMax,
  sparesMax,
} from "./limits.ts";
import { PoolSize } from "./pool-size.ts";

const plenty = 0.9;

/** Creates with pauses between them, ms. */
const pauses = fc.array(fc.nat({ max: 3 * burstMs }), { maxLength: 300 });

function sizeAfter(
  configured: number,
  waits: readonly number[],
): { size: PoolSize; now: number[] } {
  const now = [0];
  const size = new PoolSize(configured, () => now[0] ?? 0);
  for (const wait of waits) {
    now[0] = (now[0] ?? 0) + wait;
    size.noteCreate();
  }
  return { size, now };
}

test("a pool of none stays empty, whatever is asked for and however much memory there is", () => {
  fc.assert(
    fc.property(pauses, fc.double({ min: 0, max: 1, noNaN: true }), (waits, freeShare) => {
      assert.equal(sizeAfter(0, waits).size.target({ freeShare, current: 3 }), 0);
    }),
  );
});

test("with plenty of memory there are as many as were configured, or more within a bound", () => {
  fc.assert(
    fc.property(pauses, fc.integer({ min: 1, max: sparesMax }), (waits, configured) => {
      const target = sizeAfter(configured, waits).size.target({ freeShare: plenty, current: 0 });
      assert.ok(target >= configured);
      assert.ok(target <= Math.min(configured * growthFactorMax, sparesMax));
    }),
  );
});

test("what a burst has added is gone after the time for which it is remembered", () => {
  fc.assert(
    fc.property(pauses, fc.integer({ min: 1, max: sparesMax }), (waits, configured) => {
      const { size, now } = sizeAfter(configured, waits);
      let before = size.target({ freeShare: plenty, current: 0 });
      for (let step = 0; step <= 10; step += 1) {
        now[0] = (now[0] ?? 0) + burstMemoryMs / 10;
        const after = size.target({ freeShare: plenty, current: 0 });
        assert.ok(after <= before, "without creates it never grows");
        before = after;
      }
      assert.equal(before, configured);
    }),
  );
});

test("while memory is short none is added, and one goes at each look", () => {
  const short = fc.double({ min: 0, max: freeShareMin - 0.001, noNaN: true });
  fc.assert(
    fc.property(pauses, fc.integer({ min: 1, max: 64 }), fc.nat(64), short, (...given) => {
      const [waits, configured, current, freeShare] = given;
      const { size } = sizeAfter(configured, waits);
      assert.equal(size.target({ freeShare, current }), Math.max(0, current - 1));
      const isAdded = size.target({ freeShare: freeShareToGrow - 0.001, current }) > current;
      assert.equal(isAdded, false);
    }),
  );
});

test("a burst as large as the pool makes it as large as the burst", () => {
  const { size } = sizeAfter(
    4,
    Array.from({ length: 12 }, () => 100),
  );
  assert.equal(size.target({ freeShare: plenty, current: 0 }), 12);
  const single = sizeAfter(4, [0, 60_000, 60_000, 60_000, 60_000, 60_000]);
  assert.equal(single.size.target({ freeShare: plenty, current: 0 }), 4);
});
