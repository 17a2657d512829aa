/**
 * A reporter of node's test runner for `make test`: one JSON object a line, with how long each file
 * took, and the counts of the whole run at the end.
 */
import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";

import { repositoryDirectory } from "./source-files.ts";
import { noTests, type TestCounts } from "./test-counts.ts";

export interface FileTime {
  /** From the repository's root. */
  file: string;
  durationMs: number;
}

export interface RunnerReport {
  times: FileTime[];
  /** None when the runner died before its end. */
  counts: TestCounts;
}

// Node takes a reporter from a default export only.
// oxlint-disable-next-line import/no-default-export
export default async function* runReporter(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  for await (const event of events) {
    if (event.type !== "test:summary") continue;
    const { file, counts, duration_ms: durationMs } = event.data;
    // A todo counts as skipped, and a cancelled test as failed.
    const { tests, passed } = counts;
    const skipped = counts.skipped + counts.todo;
    const totals: TestCounts = { passed, failed: tests - passed - skipped, skipped };
    const line =
      file === undefined
        ? { counts: totals }
        : { file: relative(repositoryDirectory, file), durationMs };
    yield `${JSON.stringify(line)}\n`;
  }
}

export function readRunnerReport(text: string): RunnerReport {
  const report: RunnerReport = { times: [], counts: noTests };
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const value = JSON.parse(line) as FileTime | { counts: TestCounts };
    if ("counts" in value) report.counts = value.counts;
    else report.times.push(value);
  }
  return report;
}

/** For people: those that took longest, and the sum of all. */
export function slowestFiles(times: readonly FileTime[], count: number): string {
  const totalMs = times.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const slowest = times.toSorted((left, right) => right.durationMs - left.durationMs);
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`.padStart(9);
  return [
    `slowest of ${times.length} files, which took ${seconds(totalMs).trim()} in all:`,
    ...slowest.slice(0, count).map(({ file, durationMs }) => `${seconds(durationMs)}  ${file}`),
  ].join("\n");
}
