/**
 * Runs worlds one after the other, and writes a line of JSON for each that went wrong and one at the end.
 * `run-seeds.ts --first 1 --count 100 [--seconds 60 --least 20] [--mutation 3] [--focus power] [--trace] [--hashes]`
 */
import { parseArgs } from "node:util";
import { focuses } from "./actions.ts";
import { mutations } from "./mutations.ts";
import { installStandIns } from "./stand-in-hooks.ts";

const { values } = parseArgs({
  options: {
    first: { type: "string", default: "1" },
    count: { type: "string", default: "1" },
    /** Of a run that others share: every so many seeds is ours. */
    stride: { type: "string", default: "1" },
    /** Then it ends; 0: never. */
    seconds: { type: "string", default: "0" },
    /** Worlds that are run however long they take. */
    least: { type: "string", default: "0" },
    /** Of all worlds, instead of the one that each seed chooses. */
    focus: { type: "string" },
    mutation: { type: "string" },
    trace: { type: "boolean", default: false },
    hashes: { type: "boolean", default: false },
    /** Ends with the first world that goes wrong. */
    "until-failure": { type: "boolean", default: false },
  },
});

const mutation = values.mutation === undefined ? null : mutations[Number(values.mutation)];
installStandIns(mutation?.changes ?? []);
const { installVirtualTime } = await import("./virtual-time.ts");
const startedAtMs = performance.now();
const realNow = performance.now.bind(performance);
installVirtualTime();
const { World } = await import("./world.ts");

// Thousands of errors are part of the stories, and where each comes from is of interest to whoever reads one of them.
if (!values.trace) Error.stackTraceLimit = 4;
const stride = Number(values.stride);
const focus = mutation?.focus ?? focuses.find((each) => each === values.focus);
if (values.focus !== undefined && focus === undefined) throw new Error(`no focus ${values.focus}`);
const deadlineMs = Number(values.seconds) * 1_000;
const totals = { worlds: 0, failures: 0, events: 0, steps: 0, crashes: 0, requests: 0 };
for (let index = 0; index < Number(values.count); index++) {
  const isLate = deadlineMs > 0 && realNow() - startedAtMs > deadlineMs;
  if (isLate && index >= Number(values.least)) break;
  const seed = Number(values.first) + index * stride;
  const report = await World.run(seed, {
    ...(values.trace ? { onTrace: print } : {}),
    ...(focus === undefined ? {} : { focus }),
  });
  totals.worlds++;
  totals.events += report.events;
  totals.steps += report.steps;
  totals.crashes += report.crashes;
  totals.requests += report.requests;
  if (values.hashes) print(JSON.stringify({ seed, traceHash: report.traceHash }));
  if (report.problem === null) continue;
  totals.failures++;
  print(JSON.stringify({ seed, problem: report.problem }));
  if (values["until-failure"]) break;
}
print(
  JSON.stringify({
    ...totals,
    seconds: (realNow() - startedAtMs) / 1_000,
    cpuSeconds: cpuSeconds(),
  }),
);
process.exit(totals.failures === 0 ? 0 : 1);

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000_000;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
