/** What a sprite has used, kept on this machine beyond the life of its agents (docs/formats/usage.md). */
import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { parseUsageReport, type UsageReport } from "../../contract/usage-report.ts";

/** Where a meter was when it was last written, by counters of the machine and of the container. */
export interface UsageMark {
  /** Of the boot that `monotonicMs` belongs to. */
  bootId: string;
  monotonicMs: number;
  isWarm: boolean;
  processorMs: number | null;
  sentBytes: number | null;
  memoryBytes: number;
}

export interface UsageRecord {
  report: UsageReport;
  mark: UsageMark;
}

/** Null when there is none that can be believed. */
export function readUsageFile(path: string): UsageRecord | null {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as { mark?: Partial<UsageMark> };
    const report = parseUsageReport(value);
    if (report === null) return null;
    const { bootId, monotonicMs, isWarm, processorMs, sentBytes, memoryBytes } = value.mark ?? {};
    const mark = {
      bootId: typeof bootId === "string" ? bootId : "",
      monotonicMs: monotonicMs ?? Number.NaN,
      isWarm: isWarm === true,
      processorMs: processorMs ?? null,
      sentBytes: sentBytes ?? null,
      memoryBytes: memoryBytes ?? 0,
    };
    return { report, mark };
  } catch {
    return null;
  }
}

/** Whole or not at all, for as long as the machine keeps its power: a minute's usage is not worth a sync. */
export async function writeUsageFile(path: string, { report, mark }: UsageRecord): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify({ ...report, mark }), { mode: 0o600 });
  await rename(`${path}.new`, path);
}
