import assert from "node:assert/strict";
import { test } from "node:test";

import { addCounts, summaryLine } from "./test-counts.ts";

test("the closing line names skipped tests only if there are some", () => {
  const counts = addCounts(
    { passed: 3, failed: 2, skipped: 1 },
    { passed: 1, failed: 0, skipped: 0 },
  );
  assert.equal(summaryLine(counts), "4 passed, 2 failed, 1 skipped");
  assert.equal(summaryLine({ passed: 4, failed: 0, skipped: 0 }), "4 passed, 0 failed");
});
