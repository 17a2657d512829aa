/** How a chain is kept: docs/formats/litestream.md says what follows for restores and for the bill. */
import type { MaintenancePolicy } from "./database-replica.ts";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;

/**
 * For a volume's map, which is opened cold: few and small files. Nothing is done for its age, so that an
 * idle volume makes no request; what a merged file or a snapshot made superfluous goes after the retention.
 */
export const mapPolicy: MaintenancePolicy = {
  levels: [
    { everyMs: Infinity, filesMax: 16 },
    { everyMs: Infinity, filesMax: 16 },
    { everyMs: Infinity, filesMax: 16 },
  ],
  snapshot: { everyMs: Infinity, outweighsBy: 1 },
  retentionMs: 15 * minuteMs,
  levelZeroRetentionMs: 15 * minuteMs,
};

/** For a database of records, which somebody may want back as of yesterday; the times are litestream's. */
export const databasePolicy: MaintenancePolicy = {
  levels: [
    { everyMs: 30 * secondMs, filesMax: 100 },
    { everyMs: 5 * minuteMs, filesMax: 100 },
    { everyMs: hourMs, filesMax: 100 },
  ],
  snapshot: { everyMs: 24 * hourMs, outweighsBy: 4 },
  retentionMs: 24 * hourMs,
  levelZeroRetentionMs: 5 * minuteMs,
};
