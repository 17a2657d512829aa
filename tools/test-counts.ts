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

/**
 * Reads the totals at the end of a TAP report of node's runner. A cancelled test counts as failed,
 * a todo as skipped.
 */
export function readCounts(tap: string): TestCounts {
  const total = (name: string): number => {
    const matches = [...tap.matchAll(new RegExp(`^# ${name} (\\d+)$`, "gm"))];
    return Number(matches.at(-1)?.[1] ?? 0);
  };
  return {
    passed: total("pass"),
    failed: total("fail") + total("cancelled"),
    skipped: total("skipped") + total("todo"),
  };
}

/** The closing line that tools and people look for. */
export function summaryLine(counts: TestCounts): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`;
}
