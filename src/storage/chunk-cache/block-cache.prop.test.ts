import fc from "fast-check";
import { test } from "node:test";
import { CacheModel } from "./testing/cache-model.ts";

const unitCount = 6;
const blockCount = unitCount * 16;

/** Ranges mostly within a unit or two, sometimes whole units: where the special cases are. */
const range = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: blockCount - 1 }), fc.integer({ min: 1, max: 20 })),
  fc.tuple(
    fc.integer({ min: 0, max: unitCount - 1 }).map((unit) => unit * 16),
    fc.constantFrom(16, 32),
  ),
);

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("write"), range, fc.integer({ min: 0, max: 255 })) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("punch"), range, fc.constant(0)) },
  { weight: 4, arbitrary: fc.tuple(fc.constant("read"), range, fc.constant(0)) },
  {
    weight: 8,
    arbitrary: fc.tuple(
      fc.constantFrom("begin", "begin", "capture", "capture", "finish", "abort", "evict", "flush"),
      range,
      fc.constant(0),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constantFrom("kill", "kill-after-commit", "reboot", "compact", "scrub", "damage"),
      range,
      fc.constant(0),
    ),
  },
);

async function apply(
  model: CacheModel,
  [name, [first, wanted], value]: [string, [number, number], number],
): Promise<void> {
  const count = Math.min(wanted, blockCount - first);
  switch (name) {
    case "write":
      return model.write(first, count, value);
    case "punch":
      return model.punch(first, count);
    case "read":
      return model.verifyRead(first, count);
    case "begin":
      return model.begin();
    case "capture":
      model.captureNext();
      return;
    case "finish":
      return model.finish({ isKilled: false });
    case "abort":
      return model.abort();
    case "evict":
      return model.evict();
    case "flush":
      return model.flush();
    case "kill":
      return model.kill();
    case "kill-after-commit":
      return model.finish({ isKilled: true });
    case "reboot":
      return model.reboot();
    case "scrub":
      model.local.scrub.run();
      return;
    case "damage":
      return model.damage(first);
    case "compact":
      if (model.running === null) await model.local.compact();
      return;
    default:
      throw new Error(`unknown operation ${name}`);
  }
}

test("the cache agrees with a model through cuts, evictions, kills, reboots and damage", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 60 }), async (operations) => {
      const model = new CacheModel(unitCount);
      try {
        for (const step of operations) await apply(model, step);
        model.verifyRead(0, blockCount);
        // What reaches the bucket in the end is what the guest wrote.
        await model.finish({ isKilled: false });
        model.begin();
        await model.finish({ isKilled: false });
        model.evict();
        model.verifyRead(0, blockCount);
      } finally {
        model.close();
      }
    }),
    { numRuns: 2_000, interruptAfterTimeLimit: 6_000, markInterruptAsFailure: false },
  );
});
