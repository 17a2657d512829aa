/** What an agent says its sprite has used: counters that only grow, so that a report that is lost costs nothing. */

/** The counters, each since the meter began. Sums, so whoever has the newest has them all. */
export const usageCounterNames = [
  /** Time with processes that run, and time with processes that are suspended, ms. */
  "runningMs",
  "warmMs",
  /** Processor time of the processes inside, ms. */
  "processorMs",
  /** Their memory times the time they held it, while they ran and while they were suspended. */
  "memoryByteSeconds",
  "warmMemoryByteSeconds",
  /** What left by its network. */
  "sentBytes",
  /** Requests to the bucket for its disk: those that a store bills as writes (put, list), as reads, and those that are free. */
  "bucketWrites",
  "bucketReads",
  "bucketDeletes",
  "bucketWrittenBytes",
  "bucketReadBytes",
] as const;

export type UsageCounters = Record<(typeof usageCounterNames)[number], number>;

export interface UsageReport {
  /** Names the beginning of the counters: two meters of one sprite are added up, two reports of one are not. */
  meterId: string;
  counters: UsageCounters;
  /** Bytes that its disk and its checkpoints have in the bucket; null while that is not known. */
  storedBytes: number | null;
  /** On this machine, of its disk. */
  cachedBytes: number | null;
  /** When it was made, by the machine's clock, ms since the epoch. */
  atMs: number;
}

const meterIdPattern = /^[0-9a-f]{16}$/;

export function noUsage(): UsageCounters {
  return Object.fromEntries(usageCounterNames.map((name) => [name, 0])) as UsageCounters;
}

/** Null for what no meter wrote: a file that a power failure cut short. */
export function parseUsageReport(value: unknown): UsageReport | null {
  if (typeof value !== "object" || value === null) return null;
  const { meterId, counters, storedBytes, cachedBytes, atMs } = value as Partial<UsageReport>;
  if (typeof meterId !== "string" || !meterIdPattern.test(meterId)) return null;
  if (typeof counters !== "object" || counters === null || !isAmount(atMs)) return null;
  const read = noUsage();
  for (const name of usageCounterNames) {
    // A counter that this version added begins at nothing.
    const amount: unknown = counters[name] ?? 0;
    if (!isAmount(amount)) return null;
    read[name] = amount;
  }
  return {
    meterId,
    counters: read,
    storedBytes: isAmount(storedBytes) ? storedBytes : null,
    cachedBytes: isAmount(cachedBytes) ? cachedBytes : null,
    atMs,
  };
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
