import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { mutations } from "./testing/mutations.ts";
import { runSeeds } from "./testing/run-workers.ts";

/**
 * Most bugs show within twenty worlds, and the rarest within some hundreds; which ones changes with the code. Only a bug
 * that is not found takes all of them.
 */
const worldsMax = 2_000;
const secondsMax = 120;
/** However slow the machine is. */
const countMin = 1_500;

test("the simulation finds every deliberate bug", async (t) => {
  const missed: string[] = [];
  const queue = [...mutations.entries()];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [mutation, { bug }] = next;
      const options = { mutation, secondsMax, countMin, untilFailure: true, processes: 1 };
      const report = await runSeeds({ ...options, first: 1, count: worldsMax });
      const [failure] = report.failures;
      if (failure === undefined) missed.push(`${bug} (${report.worlds} worlds)`);
      else t.diagnostic(`${bug}: seed ${failure.seed}: ${failure.problem.split("\n")[0]}`);
    }
  };
  const workers = Math.max(2, Math.floor(availableParallelism() / 2));
  await Promise.all(Array.from({ length: workers }, work));
  assert.deepEqual(missed, [], "bugs that were not found");
});
