/**
 * How long each test file took. As a reporter of node's runner this file writes one JSON object a
 * line; the rest reads them.
 */
import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";

import { repositoryDirectory } from "./source-files.ts";

export interface FileTime {
  /** From the repository's root. */
  file: string;
  durationMs: number;
}

// Node takes a reporter from a default export only.
// oxlint-disable-next-line import/no-default-export
export default async function* fileTimesReporter(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  for await (const event of events) {
    // The one without a file is the whole run's.
    if (event.type !== "test:summary" || event.data.file === undefined) continue;
    const file = relative(repositoryDirectory, event.data.file);
    const time: FileTime = { file, durationMs: event.data.duration_ms };
    yield `${JSON.stringify(time)}\n`;
  }
}

export function readFileTimes(text: string): FileTime[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as FileTime);
}

/** For people: those that took longest, and their share of the whole. */
export function slowestFiles(times: readonly FileTime[], count: number): string {
  const totalMs = times.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const slowest = times.toSorted((left, right) => right.durationMs - left.durationMs);
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`.padStart(9);
  return [
    `slowest of ${times.length} files, which took ${seconds(totalMs).trim()} in all:`,
    ...slowest.slice(0, count).map(({ file, durationMs }) => `${seconds(durationMs)}  ${file}`),
  ].join("\n");
}
