/** Builds a database from its chain, verified, and as of any state that the chain still has. */
import { existsSync } from "node:fs";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { syncDirectory } from "../local-files.ts";
import type { LtxHeader } from "../ltx/format.ts";
import { ltxKey } from "../ltx/names.ts";
import { planRestore, type RestoreTarget } from "../ltx/restore-plan.ts";
import { LtxReader } from "../ltx/reader.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { listChain, withHeaderTimes } from "./chain-files.ts";
import type { ChainFile } from "./database-replica.ts";
import { restoreReadSizeBytes } from "./limits.ts";

export interface RestoreOptions {
  store: ObjectStore;
  prefix: string;
  target: RestoreTarget;
  /** Of a file that does not exist; it appears there only when it is whole and on the disk. */
  path: string;
  signal?: AbortSignal | undefined;
}

export interface RestoredDatabase {
  txid: number;
  /** Node id of the newest file: who wrote that transaction, or 0 when it is a merged file's. */
  writer: bigint;
  pageSizeBytes: number;
  commitPages: number;
  timestampMs: number;
  /** All files of the chain that the bucket lists. */
  files: readonly ChainFile[];
}

/**
 * @throws SpriteError not_found when there is no such chain or state, already_exists when there is such a
 * file, storage_failure when the chain has a gap or a file of it is damaged
 */
export async function restoreDatabase(options: RestoreOptions): Promise<RestoredDatabase> {
  const { store, prefix, target, path, signal } = options;
  if (existsSync(path)) throw new SpriteError("already_exists", `the file ${path} exists`);
  const listed = await listChain(store, prefix, { signal });
  if (listed.length === 0) throw new SpriteError("not_found", `the bucket has no ${prefix}`);
  const files =
    target.kind === "time"
      ? await withHeaderTimes(store, prefix, { files: listed, signal })
      : listed;
  const plan = planOf(prefix, files, target);
  const draft = `${path}.restoring`;
  await rm(draft, { force: true });
  const file = await open(draft, "wx", 0o600);
  try {
    const header = await applyFiles(file, plan, options);
    await file.sync();
    await rename(draft, path);
    await syncDirectory(dirname(path));
    const { maxTxid: txid, nodeId: writer, pageSizeBytes, commitPages, timestampMs } = header;
    return { txid, writer, pageSizeBytes, commitPages, timestampMs, files };
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
}

/** @throws SpriteError not_found, storage_failure */
function planOf(prefix: string, files: readonly ChainFile[], target: RestoreTarget): ChainFile[] {
  const whole = planRestore(files);
  if (whole.kind === "gap") {
    const { reachedTxid, wantedTxid } = whole;
    throw new SpriteError(
      "storage_failure",
      `${prefix} has a gap: transaction ${reachedTxid + 1} is missing of ${wantedTxid}`,
    );
  }
  const plan = planRestore(files, target);
  if (plan.kind === "plan") return plan.files;
  // The chain is whole: the state was merged with later ones, was deleted, or never was.
  throw unreachable(prefix, target);
}

function unreachable(prefix: string, target: RestoreTarget): SpriteError {
  const what =
    target.kind === "txid"
      ? `transaction ${target.txid}`
      : target.kind === "time"
        ? `a state of ${new Date(target.timeMs).toISOString()}`
        : "a state";
  return new SpriteError("not_found", `${prefix} does not have ${what}, or not any more`);
}

/** The header of the last file. */
async function applyFiles(
  file: FileHandle,
  plan: readonly ChainFile[],
  options: RestoreOptions,
): Promise<LtxHeader> {
  let last: LtxHeader | null = null;
  for (const planned of plan) {
    const header = await applyFile(file, planned, options);
    if (last !== null && last.pageSizeBytes !== header.pageSizeBytes) {
      throw new SpriteError("storage_failure", `${options.prefix} changes its page size`);
    }
    // To the byte: what lay behind a smaller database must not come back when it grows.
    await file.truncate(header.commitPages * header.pageSizeBytes);
    last = header;
  }
  if (last === null) throw new SpriteError("not_found", `${options.prefix} is empty`);
  return last;
}

async function applyFile(
  file: FileHandle,
  planned: ChainFile,
  { store, prefix, signal }: RestoreOptions,
): Promise<LtxHeader> {
  const key = ltxKey(prefix, planned);
  const reader = await LtxReader.open(readPieces(key, planned.sizeBytes, { store, signal }));
  try {
    for (let page = await reader.next(); page !== null; page = await reader.next()) {
      await file.write(page.bytes, 0, page.bytes.length, (page.pgno - 1) * page.bytes.length);
    }
    await reader.finish();
  } finally {
    await reader.close();
  }
  const { header } = reader;
  if (header.minTxid !== planned.minTxid || header.maxTxid !== planned.maxTxid) {
    throw new SpriteError("storage_failure", `${key} holds other transactions than its name says`);
  }
  return header;
}

async function* readPieces(
  key: string,
  sizeBytes: number,
  { store, signal }: Pick<RestoreOptions, "store" | "signal">,
): AsyncGenerator<Uint8Array> {
  for (let offsetBytes = 0; offsetBytes < sizeBytes;) {
    const wanted = Math.min(restoreReadSizeBytes, sizeBytes - offsetBytes);
    const bytes = await store.getRange(key, offsetBytes, wanted, { signal });
    if (bytes === null || bytes.length === 0) throw missing(key);
    offsetBytes += bytes.length;
    yield bytes;
  }
}

function missing(key: string): SpriteError {
  return new SpriteError("storage_failure", `the bucket has no whole ${key}`);
}
