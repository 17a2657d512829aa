/**
 * Carries out what maintenance-plan.ts finds due. Every step leaves a chain that restores everything it
 * did before: files are added first, and only files that others stand in for are deleted.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { compactLtx } from "../ltx/compact.ts";
import { LtxEncoder } from "../ltx/encode.ts";
import { ltxHeader } from "../ltx/format.ts";
import { readHeader } from "../ltx/header.ts";
import { ltxKey, snapshotLevel } from "../ltx/names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { listChain } from "./chain-files.ts";
import type {
  ChainFile,
  DatabaseImage,
  MaintenanceOptions,
  MaintenancePolicy,
  MaintenanceResult,
} from "./database-replica.ts";
import { deletedFilesMin, encodeTurnSizeBytes } from "./limits.ts";
import { isSnapshotDue, planDeletion, planMerge, type Merge } from "./maintenance-plan.ts";
import type { RecentFiles } from "./recent-files.ts";

export interface MaintainChainOptions extends MaintenanceOptions {
  store: ObjectStore;
  prefix: string;
  policy: MaintenancePolicy;
  nowMs: () => number;
  recent: RecentFiles;
  files: () => readonly ChainFile[];
  replaceFiles: (files: ChainFile[]) => void;
}

export async function maintainChain(options: MaintainChainOptions): Promise<MaintenanceResult> {
  const { policy, nowMs, files } = options;
  let mergedFiles = 0;
  for (const _ of policy.levels) {
    const merge = planMerge(files(), policy, nowMs());
    if (merge === null) break;
    await mergeFiles(merge, options);
    mergedFiles += merge.inputs.length;
  }
  const snapshotTxid = await makeSnapshotIfDue(options);
  const deletedFiles = await deleteSuperfluous(options);
  return { snapshotTxid, mergedFiles, deletedFiles };
}

async function mergeFiles({ level, inputs }: Merge, options: MaintainChainOptions): Promise<void> {
  const { store, prefix, recent, signal } = options;
  const contents: Uint8Array[] = [];
  for (const input of inputs) contents.push(recent.get(input) ?? (await fetchFile(input, options)));
  const pieces: Uint8Array[] = [];
  for await (const piece of compactLtx(contents.map((content) => [content]))) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  const { minTxid, maxTxid, timestampMs } = readHeader(bytes);
  const file: ChainFile = {
    ...{ level, minTxid, maxTxid },
    sizeBytes: bytes.length,
    createdAtMs: timestampMs,
    storedAtMs: options.nowMs(),
  };
  // One of that name is there after a crash: it was merged from the same transactions.
  await store.putIfAbsent(ltxKey(prefix, file), bytes, { signal });
  options.replaceFiles([...options.files(), file]);
  for (const input of inputs) recent.remove(input);
}

async function fetchFile(file: ChainFile, options: MaintainChainOptions): Promise<Uint8Array> {
  const { store, prefix, signal } = options;
  const key = ltxKey(prefix, file);
  const bytes = await store.get(key, { signal });
  if (bytes !== null) return bytes;
  // The hint named a file that retention has deleted. The next round works on what is there.
  const listed = await listChain(store, prefix, { signal });
  options.replaceFiles(joinFiles(listed, options).filter((known) => ltxKey(prefix, known) !== key));
  throw new SpriteError("storage_failure", `the bucket has no ${key}`);
}

async function makeSnapshotIfDue(options: MaintainChainOptions): Promise<number | null> {
  const { policy, nowMs, files } = options;
  const newestTxid = Math.max(0, ...files().map((file) => file.maxTxid));
  if (newestTxid === 0) return null;
  if (!isSnapshotDue(files(), policy, { txid: newestTxid, nowMs: nowMs() })) return null;
  const image = options.image();
  if (image === null) return null;
  try {
    const { txid } = image;
    if (!isSnapshotDue(files(), policy, { txid, nowMs: nowMs() })) return null;
    options.replaceFiles([...files(), await storeSnapshot(image, options)]);
    return txid;
  } finally {
    image.release();
  }
}

async function storeSnapshot(
  image: DatabaseImage,
  options: MaintainChainOptions,
): Promise<ChainFile> {
  const { store, prefix, scratchDirectory, signal } = options;
  const { txid } = image;
  const name = { level: snapshotLevel, minTxid: 1, maxTxid: txid };
  const timestampMs = timeOf(txid, options);
  const path = join(scratchDirectory, `snapshot-${txid}.ltx`);
  try {
    const sizeBytes = await writeSnapshot(path, { image, timestampMs, signal });
    await store.putFile(ltxKey(prefix, name), path, { signal });
    return { ...name, sizeBytes, createdAtMs: timestampMs, storedAtMs: options.nowMs() };
  } finally {
    await rm(path, { force: true });
  }
}

/** When the transaction was made, as far as the files tell. */
function timeOf(txid: number, { files, nowMs }: MaintainChainOptions): number {
  return files().find((file) => file.maxTxid === txid)?.createdAtMs ?? nowMs();
}

/** Its size. Other work of the thread goes on meanwhile. */
async function writeSnapshot(
  path: string,
  options: { image: DatabaseImage; timestampMs: number; signal: AbortSignal | undefined },
): Promise<number> {
  const { image, timestampMs, signal } = options;
  const { pageSizeBytes, commitPages, txid } = image;
  const fields = { pageSizeBytes, commitPages, timestampMs, minTxid: 1, maxTxid: txid };
  const encoder = new LtxEncoder(ltxHeader(fields));
  await rm(path, { force: true });
  const file = await open(path, "wx", 0o600);
  try {
    let sizeBytes = 0;
    let parts = [encoder.begin()];
    let pagesInTurn = 0;
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(parts);
      parts = [];
      pagesInTurn = 0;
      await file.write(bytes, 0, bytes.length, sizeBytes);
      sizeBytes += bytes.length;
      signal?.throwIfAborted();
      await nextTurn();
    };
    for (const page of image.pages()) {
      parts.push(encoder.page(page));
      pagesInTurn += 1;
      if (pagesInTurn * pageSizeBytes >= encodeTurnSizeBytes) await flush();
    }
    parts.push(encoder.finish());
    await flush();
    await file.sync();
    return sizeBytes;
  } finally {
    await file.close();
  }
}

async function deleteSuperfluous(options: MaintainChainOptions): Promise<number> {
  const { store, prefix, policy, nowMs, signal } = options;
  const guess = planDeletion(options.files(), policy, nowMs());
  const isWorthIt = guess.length >= deletedFilesMin || guess.some((file) => file.minTxid === 1);
  if (!isWorthIt) return 0;
  // A hint is not enough to delete by: what stands in for the deleted files must be there.
  const listed = timed(await listChain(store, prefix, { signal }), options);
  const superfluous = planDeletion(listed, policy, nowMs());
  const keys = superfluous.map((file) => ltxKey(prefix, file));
  if (keys.length > 0) await store.deleteMany(keys, { signal });
  const deleted = new Set(keys);
  const joined = joinFiles(listed, options);
  options.replaceFiles(joined.filter((file) => !deleted.has(ltxKey(prefix, file))));
  return keys.length;
}

/** With the times of the transactions, where they are known, in place of the uploads'. */
function timed(listed: readonly ChainFile[], options: MaintainChainOptions): ChainFile[] {
  const { prefix, files } = options;
  const times = new Map(files().map((file) => [ltxKey(prefix, file), file.createdAtMs]));
  return listed.map((file) => ({
    ...file,
    createdAtMs: times.get(ltxKey(prefix, file)) ?? file.createdAtMs,
  }));
}

/** What is listed, and what else is known: it was shipped meanwhile, or the listing was an old one. */
function joinFiles(listed: readonly ChainFile[], options: MaintainChainOptions): ChainFile[] {
  const { prefix, files } = options;
  const all = [...timed(listed, options), ...files()];
  return [...new Map(all.map((file) => [ltxKey(prefix, file), file])).values()];
}
