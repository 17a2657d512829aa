export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

/** What the inner half of a run tells the outer, through a file of this name in the run's directory. */
export interface RunReport {
  counts: TestCounts;
  leakCount: number;
}

export const reportName = "counts-total.json";

export const noTests: TestCounts = { passed: 0, failed: 0, skipped: 0 };

export function addCounts(left: TestCounts, right: TestCounts): TestCounts {
  return {
    passed: left.passed + right.passed,
    failed: left.failed + right.failed,
    skipped: left.skipped + right.skipped,
  };
}

/** The closing line that tools and people look for. */
export function summaryLine(counts: TestCounts): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`;
}
