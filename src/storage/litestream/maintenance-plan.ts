/**
 * What a chain needs next, from its list of files alone. A file with min TXID 1 holds the whole database,
 * whatever its level: such a file is a *base*.
 */
import { snapshotLevel } from "../ltx/names.ts";
import type { ChainFile, MaintenancePolicy } from "./database-replica.ts";
import { snapshotGrowthBytesMin } from "./limits.ts";

export interface Merge {
  level: number;
  /** Contiguous, in order. */
  inputs: readonly ChainFile[];
}

/** The lowest level that is due, or null. What a base has already is merged no more: it is large, and enough. */
export function planMerge(
  files: readonly ChainFile[],
  policy: MaintenancePolicy,
  nowMs: number,
): Merge | null {
  const baseTxid = newestBase(files, Infinity)?.maxTxid ?? 0;
  for (const [below, { everyMs, filesMax }] of policy.levels.entries()) {
    const level = below + 1;
    const merged = newestOf(files.filter((file) => file.level === level))?.maxTxid ?? 0;
    const waiting = files
      .filter((file) => file.level === below && file.maxTxid > Math.max(merged, baseTxid))
      .toSorted((a, b) => a.minTxid - b.minTxid);
    const inputs = contiguousStart(waiting);
    const [oldest] = inputs;
    if (oldest === undefined) continue;
    const isOld = nowMs - oldest.createdAtMs >= everyMs;
    if (isOld || inputs.length > filesMax) return { level, inputs };
  }
  return null;
}

/** Whether the database at that transaction deserves a snapshot. */
export function isSnapshotDue(
  files: readonly ChainFile[],
  policy: MaintenancePolicy,
  { txid, nowMs }: { txid: number; nowMs: number },
): boolean {
  const base = newestBase(files, txid);
  if (base === null) return true;
  if (base.maxTxid >= txid) return false;
  if (nowMs - base.createdAtMs >= policy.snapshot.everyMs) return true;
  const sizeBytes = coverAfter(files, base.maxTxid).reduce((sum, file) => sum + file.sizeBytes, 0);
  const { outweighsBy } = policy.snapshot;
  return sizeBytes > Math.max(outweighsBy * base.sizeBytes, snapshotGrowthBytesMin);
}

/**
 * Files that no restore within the retention needs. Every state that was the newest at some time within
 * it stays within reach, the single transactions for as long as level 0 is kept; so does the
 * newest file of each level, and for a while whatever a reader may have planned with.
 */
export function planDeletion(
  files: readonly ChainFile[],
  policy: MaintenancePolicy,
  nowMs: number,
): ChainFile[] {
  const oldestTxid = newestTxidAt(files, nowMs - policy.retentionMs);
  const settledAtMs = nowMs - policy.levelZeroRetentionMs;
  const settled = files.filter(({ storedAtMs = 0 }) => storedAtMs <= settledAtMs);
  const base = newestBase(settled, oldestTxid);
  if (base === null) return [];
  const fineTxid = newestTxidAt(files, settledAtMs);
  const merged = settled.filter((file) => file.level > 0 && file.level < snapshotLevel);
  const isCovered = (file: ChainFile, untilTxid: number): boolean =>
    merged.some(
      (other) =>
        other.level > file.level &&
        other.minTxid <= file.minTxid &&
        other.maxTxid >= file.maxTxid &&
        other.maxTxid <= untilTxid,
    );
  const newest = new Set(levelsOf(files).map((level) => newestOf(level)));
  return files.filter((file) => {
    if (file === base || newest.has(file)) return false;
    if (file.maxTxid <= base.maxTxid) return true;
    return isCovered(file, file.level === 0 ? Math.max(fineTxid, oldestTxid) : oldestTxid);
  });
}

/** The newest base that does not go past the transaction; of several the one of the highest level. */
function newestBase(files: readonly ChainFile[], untilTxid: number): ChainFile | null {
  const bases = files.filter((file) => file.minTxid === 1 && file.maxTxid <= untilTxid);
  return bases.toSorted((a, b) => b.maxTxid - a.maxTxid || b.level - a.level)[0] ?? null;
}

/** The fewest files that lead on from the transaction, as far as they go. */
function coverAfter(files: readonly ChainFile[], afterTxid: number): ChainFile[] {
  const cover: ChainFile[] = [];
  for (let txid = afterTxid; ;) {
    const next = newestOf(files.filter((file) => file.minTxid <= txid + 1 && file.maxTxid > txid));
    if (next === null) return cover;
    cover.push(next);
    txid = next.maxTxid;
  }
}

/** The newest transaction that was made at or before the time; 0 when none was. */
function newestTxidAt(files: readonly ChainFile[], timeMs: number): number {
  return newestOf(files.filter((file) => file.createdAtMs <= timeMs))?.maxTxid ?? 0;
}

function newestOf(files: readonly ChainFile[]): ChainFile | null {
  let newest: ChainFile | null = null;
  for (const file of files) if (newest === null || file.maxTxid > newest.maxTxid) newest = file;
  return newest;
}

function levelsOf(files: readonly ChainFile[]): ChainFile[][] {
  return [...Map.groupBy(files, (file) => file.level).values()];
}

/** As many files from the first on as follow one another without a gap. */
function contiguousStart(files: readonly ChainFile[]): ChainFile[] {
  const run: ChainFile[] = [];
  for (const file of files) {
    const last = run.at(-1);
    if (last !== undefined && file.minTxid !== last.maxTxid + 1) break;
    run.push(file);
  }
  return run;
}
