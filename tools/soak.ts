/**
 * `soak.ts [--seconds 3600] [--first SEED]`: simulated worlds for as long as that, where `make test` tells 20,000. Ends
 * with the first that goes wrong, and says how to see it again.
 */
import { parseArgs } from "node:util";
import {
  describeFailures,
  runSeeds,
} from "../src/storage/volume/simulation/testing/run-workers.ts";

/** Worlds between two lines of progress. */
const worldsAtOnce = 2_000;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3600" },
    first: { type: "string", default: String(100_000 + (Date.now() % 1_000_000_000)) },
  },
});

/** False when something went wrong. */
async function soak(): Promise<boolean> {
  const deadlineMs = performance.now() + Number(values.seconds) * 1_000;
  const totals = { worlds: 0, steps: 0, crashes: 0, requests: 0 };
  let first = Number(values.first);
  for (;;) {
    const secondsMax = Math.ceil((deadlineMs - performance.now()) / 1_000);
    if (secondsMax <= 0) return true;
    const report = await runSeeds({ first, count: worldsAtOnce, secondsMax, untilFailure: true });
    for (const name of ["worlds", "steps", "crashes", "requests"] as const)
      totals[name] += report[name];
    const { worlds, steps, crashes, requests } = totals;
    process.stdout.write(
      `seeds from ${first}: ${worlds} worlds, ${steps} steps, ${crashes} crashes, ${requests} requests so far\n`,
    );
    if (report.failures.length > 0) {
      process.stdout.write(`${describeFailures(report)}\n`);
      return false;
    }
    first += worldsAtOnce;
  }
}

process.exitCode = (await soak()) ? 0 : 1;
