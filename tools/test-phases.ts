/**
 * The inner half of `make test`: runs the test files in pid and mount namespaces that
 * `run-tests.ts` made, so that every process seen here belongs to the run. Ends with one line that
 * counts the tests.
 */
import { spawn } from "node:child_process";
import { closeSync, globSync, openSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { radosgwVariable, startRadosgw, type Radosgw } from "../src/testing/radosgw.ts";
import { findLeaks, readMachineState, type Leak, type MachineState } from "./machine-state.ts";
import { readProcesses } from "./process-tree.ts";
import {
  readRunnerReport,
  slowestFiles,
  type FileTime,
  type RunnerReport,
} from "./run-reporter.ts";
import { repositoryDirectory } from "./source-files.ts";
import { addCounts, noTests, reportName } from "./test-counts.ts";

interface Phase {
  name: string;
  files: string[];
  concurrency: number;
  fileTimeoutMs: number;
  /** Runs beside the phases that follow, with what processor time they leave, until one that runs alone. */
  isBeside?: boolean;
}

const settleTimeoutMs = 8_000;
const slowestCount = 15;

/**
 * They spend most of their time waiting: for a bucket that is away or far, for leases to run out, for
 * a server that stops, for a sprite to fall asleep.
 */
const waitingFiles: ReadonlySet<string> = new Set([
  "src/storage/volume/disk-full.root.test.ts",
  "src/storage/volume/guest-full.root.test.ts",
  "test/bad-store.root.test.ts",
  "test/bucket-only.root.test.ts",
  "test/bucket.root.test.ts",
  "test/checkpoint.root.test.ts",
  "test/operator.root.test.ts",
  "test/registry.root.test.ts",
  "test/s3-bucket.root.test.ts",
  "test/sleep.root.test.ts",
  "test/takeover.root.test.ts",
]);

/** They only compute, for minutes. */
const computingFiles: ReadonlySet<string> = new Set([
  "src/storage/volume/simulation/mutations.fs.test.ts",
  "src/storage/volume/simulation/worlds.fs.test.ts",
]);
const computingTimeoutMs = 1_200_000;

/** They hold the machine to a time, or look at something that it has once. */
const aloneFiles: ReadonlySet<string> = new Set([
  "src/host/expedited-grace-periods.root.test.ts",
  "test/agent-death.root.test.ts",
  // While its fsyncs wait for a bucket, every sync(2) of the machine waits with them, and it for those.
  "test/bucket-away.root.test.ts",
  // What may be lost is a matter of two seconds.
  "test/kill-soak.root.test.ts",
  "tools/run-tests.root.test.ts",
]);

/** @param fileTimeoutMs for files that take longer than any of `make test` may */
export function planPhases(
  files: readonly string[],
  pattern: string,
  fileTimeoutMs = 420_000,
): Phase[] {
  const chosen = files.filter((file) => file.includes(pattern)).sort();
  const isRoot = (file: string): boolean =>
    file.endsWith(".root.test.ts") || file.startsWith("test/");
  const isOfTheRest = (file: string): boolean =>
    isRoot(file) && !waitingFiles.has(file) && !aloneFiles.has(file);
  const phases: Phase[] = [
    {
      name: "simulation",
      files: chosen.filter((file) => computingFiles.has(file)),
      concurrency: 1,
      fileTimeoutMs: computingTimeoutMs,
      isBeside: true,
    },
    {
      name: "unit",
      files: chosen.filter((file) => !isRoot(file) && !computingFiles.has(file)),
      concurrency: Math.max(2, Math.floor(availableParallelism() / 2)),
      fileTimeoutMs: 180_000,
    },
    {
      name: "waiting",
      files: chosen.filter((file) => waitingFiles.has(file)),
      concurrency: 4,
      fileTimeoutMs,
    },
    // Each has servers and directories of its own, which share no more than the machine.
    {
      name: "root",
      files: chosen.filter((file) => isOfTheRest(file)),
      concurrency: 2,
      fileTimeoutMs,
    },
    {
      name: "alone",
      files: chosen.filter((file) => aloneFiles.has(file)),
      concurrency: 1,
      fileTimeoutMs,
    },
  ];
  return phases.filter((phase) => phase.files.length > 0);
}

async function runPhase(phase: Phase, temporaryDirectory: string): Promise<RunnerReport> {
  const title = `\n=== ${phase.name} tests: ${phase.files.length} files\n`;
  if (phase.isBeside !== true) process.stdout.write(title);
  const outputPath = join(temporaryDirectory, `output-${phase.name}.txt`);
  const output = phase.isBeside === true ? openSync(outputPath, "w") : "inherit";
  const reportPath = join(temporaryDirectory, `counts-${phase.name}.jsonl`);
  const [file, ...words] =
    phase.isBeside === true ? ["nice", "-n", "10", process.execPath] : [process.execPath];
  const child = spawn(
    file ?? process.execPath,
    [
      ...words,
      "--disable-warning=ExperimentalWarning",
      `--import=${join(repositoryDirectory, "tools/property-seed.ts")}`,
      "--test",
      `--test-concurrency=${phase.concurrency}`,
      `--test-timeout=${phase.fileTimeoutMs}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      `--test-reporter=${join(repositoryDirectory, "tools/run-reporter.ts")}`,
      `--test-reporter-destination=${reportPath}`,
      ...phase.files,
    ],
    { cwd: repositoryDirectory, stdio: ["ignore", output, output] },
  );
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? 1));
  });
  if (typeof output === "number") {
    closeSync(output);
    process.stdout.write(title + (await readFile(outputPath, "utf8")));
    await rm(outputPath);
  }
  const { counts, times } = readRunnerReport(await readFile(reportPath, "utf8").catch(() => ""));
  // A runner that died counted nothing, which must not pass for success.
  const failed = code !== 0 && counts.failed === 0 ? 1 : counts.failed;
  return { counts: { ...counts, failed }, times };
}

/** Some test file starts the S3 server, which takes so long that one serves the whole run. */
async function isRadosgwWanted(phases: readonly Phase[]): Promise<boolean> {
  for (const file of phases.flatMap(({ files }) => files)) {
    const text = await readFile(join(repositoryDirectory, file), "utf8");
    if (text.includes("testing/radosgw.ts")) return true;
  }
  return false;
}

/** Null when that fails, which the tests that need it find out and report by themselves. */
async function startSharedRadosgw(): Promise<Radosgw | null> {
  return startRadosgw().catch((error: unknown) => {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return null;
  });
}

/** Waits until what the last test is still ending has ended, then reports what stays. */
async function findLeftovers(before: MachineState): Promise<Leak[]> {
  const deadlineMs = performance.now() + settleTimeoutMs;
  for (;;) {
    const leaks = [...(await findProcesses()), ...findLeaks(before, await readMachineState())];
    // The rest belongs to the machine, which run-tests.ts watches.
    const relevant = leaks.filter((leak) => leak.kind === "process" || leak.kind === "mount");
    if (relevant.length === 0 || performance.now() > deadlineMs) return relevant;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function findProcesses(): Promise<Leak[]> {
  const others = (await readProcesses()).filter((entry) => {
    const isOurs = entry.pid === 1 || entry.pid === process.pid || entry.parentPid === process.pid;
    return !isOurs && entry.state !== "Z";
  });
  return others.map((entry) => ({
    kind: "process",
    name: `${entry.name} (pid ${entry.pid} of the run)`,
  }));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      temporary: { type: "string", default: "/tmp" },
      file: { type: "string", multiple: true },
      "file-timeout-seconds": { type: "string", default: "420" },
    },
  });
  const everyFile = ["{src,tools,images,test}/**/*.test.ts"];
  const files = values.file ?? globSync(everyFile, { cwd: repositoryDirectory });
  const fileTimeoutMs = Number(values["file-timeout-seconds"]) * 1000;
  const phases = planPhases(files, values.only, fileTimeoutMs);
  if (phases.length === 0) throw new Error(`no test file has "${values.only}" in its path`);
  const before = await readMachineState();
  let counts = noTests;
  const radosgw = (await isRadosgwWanted(phases)) ? await startSharedRadosgw() : null;
  if (radosgw !== null) process.env[radosgwVariable] = radosgw.endpoint;
  const times: FileTime[] = [];
  const beside: Promise<void>[] = [];
  const run = async (phase: Phase): Promise<void> => {
    const result = await runPhase(phase, values.temporary);
    counts = addCounts(counts, result.counts);
    times.push(...result.times);
  };
  for (const phase of phases) {
    if (phase.concurrency === 1) await Promise.all(beside);
    if (phase.isBeside === true) beside.push(run(phase));
    else await run(phase);
  }
  await Promise.all(beside);
  await radosgw?.stop();
  if (times.length > 1) process.stdout.write(`\n${slowestFiles(times, slowestCount)}\n`);
  const leaks = await findLeftovers(before);
  for (const leak of leaks)
    process.stdout.write(`LEAKED by the tests: ${leak.kind} ${leak.name}\n`);
  // run-tests.ts adds the leaks it finds on the machine, and prints the total.
  await writeFile(
    join(values.temporary, reportName),
    JSON.stringify({ counts, leakCount: leaks.length }),
  );
  process.exitCode = counts.failed > 0 || leaks.length > 0 ? 1 : 0;
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    process.stdout.write(
      `test-phases: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exitCode = 1;
  });
}
