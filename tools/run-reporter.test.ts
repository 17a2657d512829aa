import assert from "node:assert/strict";
import { test } from "node:test";

import runReporter, { readRunnerReport, slowestFiles } from "./run-reporter.ts";
import { repositoryDirectory } from "./source-files.ts";

const noCounts = { tests: 0, passed: 0, cancelled: 0, skipped: 0, todo: 0 };

async function reported(events: readonly object[]): Promise<string> {
  // What a run reports beyond these fields is of no interest here.
  const stream = ReadableStream.from(events) as unknown as Parameters<typeof runReporter>[0];
  let text = "";
  for await (const line of runReporter(stream)) text += line;
  return text;
}

function summary(file: string | undefined, counts: object): object {
  return { type: "test:summary", data: { file, duration_ms: 5, counts } };
}

test("files have times, and the whole run has counts, in which a cancelled test failed", async () => {
  const text = await reported([
    summary(`${repositoryDirectory}/tools/a.test.ts`, noCounts),
    { type: "test:pass", data: {} },
    summary(undefined, { tests: 8, passed: 3, cancelled: 1, skipped: 1, todo: 2 }),
  ]);
  assert.deepEqual(readRunnerReport(text), {
    times: [{ file: "tools/a.test.ts", durationMs: 5 }],
    counts: { passed: 3, failed: 2, skipped: 3 },
  });
});

test("a report that never came counts nothing", () => {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  assert.deepEqual(readRunnerReport(""), { times: [], counts });
});

test("the slowest files come first, and only as many as were asked for", () => {
  const times = [
    { file: "quick.test.ts", durationMs: 20 },
    { file: "slow.test.ts", durationMs: 12_340 },
    { file: "middling.test.ts", durationMs: 1_000 },
  ];
  const expected =
    "slowest of 3 files, which took 13.4 s in all:\n   12.3 s  slow.test.ts\n    1.0 s  middling.test.ts";
  assert.equal(slowestFiles(times, 2), expected);
});
