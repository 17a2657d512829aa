import assert from "node:assert/strict";
import { test } from "node:test";
import { describeFailures, runSeeds } from "./testing/run-workers.ts";

/** `SIMULATION_SEEDS` makes it a shorter or a longer one, and `SIMULATION_SEED` another. */
const count = Number(process.env["SIMULATION_SEEDS"] ?? 20_000);
const first = Number(process.env["SIMULATION_SEED"] ?? 1);

test("a seed tells the same story every time", async () => {
  const options = { first: 1, count: 20, isHashed: true, processes: 1 };
  const [once, again] = await Promise.all([runSeeds(options), runSeeds(options)]);
  assert.equal(once.hashes.size, 20);
  assert.deepEqual(again.hashes, once.hashes);
});

test(`volumes keep their promises in ${count} worlds`, async (t) => {
  // Bounded by their number: on a slow machine they take longer, and are as many.
  const report = await runSeeds({ first, count });
  const { worlds, steps, crashes, requests } = report;
  t.diagnostic(`${worlds} worlds, ${steps} steps, ${crashes} crashes, ${requests} requests`);
  assert.equal(report.failures.length, 0, describeFailures(report));
  assert.equal(worlds, count);
});
