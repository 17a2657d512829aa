import assert from "node:assert/strict";
import { test } from "node:test";

import fileTimesReporter, { readFileTimes, slowestFiles } from "./file-times.ts";
import { repositoryDirectory } from "./source-files.ts";

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

test("what the reporter writes can be read, without the run's own total", async () => {
  const summary = (file: string | undefined): object => ({
    type: "test:summary",
    data: { file, duration_ms: 5 },
  });
  const events = [
    summary(`${repositoryDirectory}/tools/a.test.ts`),
    { type: "test:pass", data: {} },
    summary(undefined),
  ];
  let text = "";
  // What a run reports beyond these two fields is of no interest here.
  const stream = ReadableStream.from(events) as unknown as Parameters<typeof fileTimesReporter>[0];
  for await (const line of fileTimesReporter(stream)) text += line;
  assert.deepEqual(readFileTimes(text), [{ file: "tools/a.test.ts", durationMs: 5 }]);
});
