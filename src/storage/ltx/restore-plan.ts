import { snapshotLevel, type LtxFileName } from "./names.ts";

/** An LTX file as a listing or a hint shows it. */
export interface ListedLtx extends LtxFileName {
  sizeBytes: number;
  createdAtMs: number;
}

export type RestoreTarget =
  | { kind: "latest" }
  /** Exactly this transaction. */
  | { kind: "txid"; txid: number }
  /** The newest state of which all files were created by then. */
  | { kind: "time"; timeMs: number };

export type RestorePlan<File extends ListedLtx> =
  /** Merged in this order, the files are the database after transaction `txid`. */
  | { kind: "plan"; files: File[]; txid: number }
  /** There is nothing that the target does not exclude. */
  | { kind: "nothing" }
  /** What there is leads to `reachedTxid` (0: nowhere), and then transactions are missing. */
  | { kind: "gap"; reachedTxid: number; wantedTxid: number };

/**
 * Which files make the database: the newest snapshot, then always the file that continues and reaches furthest. Files
 * that nothing leads to mean that some are missing: an error, never a silent stop (storage.md 1.5).
 */
export function planRestore<File extends ListedLtx>(
  listed: readonly File[],
  target: RestoreTarget = { kind: "latest" },
): RestorePlan<File> {
  const files = listed.filter((file) => isWithin(file, target));
  if (files.length === 0) return { kind: "nothing" };
  const snapshots = files.filter(({ level }) => level === snapshotLevel);
  const snapshot = snapshots.reduce<File | null>(
    (best, file) => (best === null || file.maxTxid > best.maxTxid ? file : best),
    null,
  );
  const chosen = snapshot === null ? [] : [snapshot];
  const deltas = files.filter(({ level }) => level < snapshotLevel);
  const txid = extend(chosen, deltas);
  const wantedTxid =
    target.kind === "txid" ? target.txid : Math.max(...files.map(({ maxTxid }) => maxTxid));
  const isGap = target.kind === "time" ? chosen.length === 0 : txid !== wantedTxid;
  return isGap
    ? { kind: "gap", reachedTxid: txid, wantedTxid }
    : { kind: "plan", files: chosen, txid };
}

function isWithin(file: ListedLtx, target: RestoreTarget): boolean {
  switch (target.kind) {
    case "latest":
      return true;
    case "txid":
      return file.maxTxid <= target.txid;
    case "time":
      return file.createdAtMs <= target.timeMs;
  }
}

/** Appends deltas while one continues; returns the transaction that is reached. */
function extend<File extends ListedLtx>(chosen: File[], deltas: readonly File[]): number {
  const ordered = deltas.toSorted((a, b) => a.minTxid - b.minTxid);
  let reached = chosen[0]?.maxTxid ?? 0;
  let best: File | null = null;
  let next = 0;
  for (;;) {
    for (; next < ordered.length; next++) {
      const file = ordered[next];
      if (file === undefined || file.minTxid > reached + 1) break;
      if (best === null || isBetter(file, best)) best = file;
    }
    if (best === null || best.maxTxid <= reached) return reached;
    // A file that begins with the first transaction has every page: what came before is of no use.
    if (best.minTxid === 1) chosen.length = 0;
    chosen.push(best);
    reached = best.maxTxid;
  }
}

function isBetter(file: ListedLtx, than: ListedLtx): boolean {
  if (file.maxTxid !== than.maxTxid) return file.maxTxid > than.maxTxid;
  if (file.minTxid !== than.minTxid) return file.minTxid < than.minTxid;
  if (file.level !== than.level) return file.level > than.level;
  return file.createdAtMs < than.createdAtMs;
}
