/** The files of a chain, as the bucket lists them. */
import { readHeader } from "../ltx/header.ts";
import { headerSizeBytes } from "../ltx/format.ts";
import { ltxKey, parseLtxKey, snapshotLevel } from "../ltx/names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { ChainFile } from "./database-replica.ts";
import { headersAtOnceMax } from "./limits.ts";

export interface ListOptions {
  signal?: AbortSignal | undefined;
}

/** All levels of the chain, in the order of level and TXID. Objects that are no LTX files are passed over. */
export async function listChain(
  store: ObjectStore,
  prefix: string,
  options: ListOptions = {},
): Promise<ChainFile[]> {
  const files: ChainFile[] = [];
  // What a database's prefix holds beside its levels is listed too: a few objects, in the same answer.
  for await (const { key, sizeBytes, modifiedAtMs } of store.list(`${prefix}/`, options)) {
    const name = parseLtxKey(prefix, key);
    if (name === null || name.level > snapshotLevel) continue;
    files.push({ ...name, sizeBytes, createdAtMs: modifiedAtMs, storedAtMs: modifiedAtMs });
  }
  return files.toSorted(compareFiles);
}

/**
 * The same files with the times that are in their headers: a listing knows only when they were uploaded, and
 * a merged file is uploaded long after its transactions.
 */
export async function withHeaderTimes(
  store: ObjectStore,
  prefix: string,
  { files, signal }: ListOptions & { files: readonly ChainFile[] },
): Promise<ChainFile[]> {
  const timed: ChainFile[] = [];
  const queue = [...files];
  const work = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const bytes = await store.getRange(ltxKey(prefix, file), 0, headerSizeBytes, { signal });
      // Retention may delete a file between the listing and now; then no restore needs it.
      if (bytes !== null) timed.push({ ...file, createdAtMs: readHeader(bytes).timestampMs });
    }
  };
  await Promise.all(Array.from({ length: headersAtOnceMax }, work));
  return timed.toSorted(compareFiles);
}

export function compareFiles(one: ChainFile, other: ChainFile): number {
  return one.level - other.level || one.minTxid - other.minTxid || one.maxTxid - other.maxTxid;
}

/** Node id of the single transaction's file; null when there is no such file. */
export async function transactionWriter(
  options: ListOptions & { store: ObjectStore; prefix: string; txid: number },
): Promise<bigint | null> {
  const { store, prefix, txid, signal } = options;
  const key = ltxKey(prefix, { level: 0, minTxid: txid, maxTxid: txid });
  const bytes = await store.getRange(key, 0, headerSizeBytes, { signal });
  return bytes === null ? null : readHeader(bytes).nodeId;
}
