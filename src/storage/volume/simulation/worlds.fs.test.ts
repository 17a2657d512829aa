import assert from "node:assert/strict";
import { test } from "node:test";
import { describeFailures, runSeeds } from "./testing/run-workers.ts";

/** `SIMULATION_SEEDS` and `SIMULATION_SECONDS` make it a longer one. */
const count = Number(process.env["SIMULATION_SEEDS"] ?? 20_000);
const secondsMax = Number(process.env["SIMULATION_SECONDS"] ?? 40);
/** On a machine that is too slow for more in that time. */
const countMin = Math.min(count, 30);
const first = Number(process.env["SIMULATION_SEED"] ?? 1);

test("a seed tells the same story every time", async () => {
  const options = { first: 1, count: 20, isHashed: true, processes: 1 };
  const [once, again] = await Promise.all([runSeeds(options), runSeeds(options)]);
  assert.equal(once.hashes.size, 20);
  assert.deepEqual(again.hashes, once.hashes);
});

test("volumes keep their promises in every world", async (t) => {
  const report = await runSeeds({ first, count, countMin, secondsMax });
  const { worlds, crashes, requests } = report;
  t.diagnostic(`${worlds} worlds, ${crashes} crashes, ${requests} requests`);
  assert.equal(report.failures.length, 0, describeFailures(report));
  assert.ok(worlds >= countMin, `only ${worlds} worlds`);
});
