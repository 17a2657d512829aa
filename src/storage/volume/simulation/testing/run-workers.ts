/** Runs many worlds on several processes, and tells of the first that went wrong how to see it again. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

export interface SeedFailure {
  seed: number;
  problem: string;
}

export interface SeedsReport {
  failures: SeedFailure[];
  hashes: Map<number, number>;
  worlds: number;
  events: number;
  steps: number;
  crashes: number;
  requests: number;
}

interface SeedsOptions {
  first: number;
  count: number;
  /** Fewer worlds when they take longer than this, */
  secondsMax?: number;
  /** but at least so many, however slow the machine is. */
  countMin?: number;
  mutation?: number;
  isHashed?: boolean;
  untilFailure?: boolean;
  processes?: number;
}

/**
 * Worlds allocate much that is gone at once: with a small space for what is new it is collected there, cheaply. And what
 * a world seldom does is not to be compiled again for it.
 */
const memoryFlags = ["--max-semi-space-size=8", "--no-flush-bytecode"];

const program = fileURLToPath(new URL("run-seeds.ts", import.meta.url));

export async function runSeeds(options: SeedsOptions): Promise<SeedsReport> {
  const { processes = Math.max(1, Math.min(2, availableParallelism())) } = options;
  const report: SeedsReport = {
    ...{ failures: [], hashes: new Map() },
    ...{ worlds: 0, events: 0, steps: 0, crashes: 0, requests: 0 },
  };
  const indexes = Array.from({ length: processes }, (_, index) => index);
  await Promise.all(indexes.map((index) => runPart(options, { index, processes, report })));
  report.failures.sort((a, b) => a.seed - b.seed);
  return report;
}

async function runPart(
  options: SeedsOptions,
  { index, processes, report }: { index: number; processes: number; report: SeedsReport },
): Promise<void> {
  const { first, count, secondsMax = 0, countMin = 0, mutation } = options;
  const child = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      ...memoryFlags,
      program,
      ...["--first", String(first + index), "--stride", String(processes)],
      ...["--count", String(Math.ceil((count - index) / processes))],
      ...["--seconds", String(secondsMax)],
      ...["--least", String(Math.ceil(countMin / processes))],
      ...(mutation === undefined ? [] : ["--mutation", String(mutation)]),
      ...(options.isHashed === true ? ["--hashes"] : []),
      ...(options.untilFailure === true ? ["--until-failure"] : []),
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const texts = await Promise.all([textOf(child.stdout), textOf(child.stderr)]);
  const [output, errors] = texts;
  let isComplete = false;
  for (const line of output.split("\n").filter((text) => text !== "")) {
    const found = JSON.parse(line) as Partial<SeedFailure> & Record<string, number>;
    if (found.problem !== undefined) report.failures.push(found as SeedFailure);
    else if (found["traceHash"] !== undefined) {
      report.hashes.set(Number(found.seed), found["traceHash"]);
    } else {
      isComplete = true;
      for (const name of ["worlds", "events", "steps", "crashes", "requests"] as const) {
        report[name] += Number(found[name]);
      }
    }
  }
  if (!isComplete) throw new Error(`the simulation itself has failed: ${errors}`);
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}

export function replayCommand(seed: number): string {
  return `bin/node24 src/storage/volume/simulation/testing/run-seeds.ts --first ${seed} --trace`;
}

export function describeFailures(report: SeedsReport): string {
  return report.failures
    .map(({ seed, problem }) => `seed ${seed}: ${problem}\n  ${replayCommand(seed)}`)
    .join("\n");
}
