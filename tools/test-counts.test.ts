import assert from "node:assert/strict";
import { test } from "node:test";

import { addCounts, readCounts, summaryLine } from "./test-counts.ts";

const tap = `TAP version 13
# pass 999 is what a test printed
ok 1 - a
1..3
# tests 6
# suites 0
# pass 3
# fail 1
# cancelled 1
# skipped 1
# todo 0
`;

test("totals come from the end of the report, and a cancelled test failed", () => {
  assert.deepEqual(readCounts(tap), { passed: 3, failed: 2, skipped: 1 });
});

test("a report that never came counts nothing", () => {
  assert.deepEqual(readCounts(""), { passed: 0, failed: 0, skipped: 0 });
});

test("the closing line names skipped tests only if there are some", () => {
  const counts = addCounts(readCounts(tap), { passed: 1, failed: 0, skipped: 0 });
  assert.equal(summaryLine(counts), "4 passed, 2 failed, 1 skipped");
  assert.equal(summaryLine({ passed: 4, failed: 0, skipped: 0 }), "4 passed, 0 failed");
});
