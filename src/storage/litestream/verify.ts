/** Reads a whole chain again, to find out what a restore would find, before somebody needs one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { Database } from "../database.ts";
import { decodeLtx } from "../ltx/decode.ts";
import { ltxKey } from "../ltx/names.ts";
import { planRestore } from "../ltx/restore-plan.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { listChain } from "./chain-files.ts";
import type { ChainFile } from "./database-replica.ts";
import { restoreDatabase } from "./restore.ts";

export interface ChainReport {
  files: number;
  sizeBytes: number;
  newestTxid: number;
  /** One sentence each; none means that all is well. */
  problems: string[];
}

export interface VerifyOptions {
  store: ObjectStore;
  prefix: string;
  signal?: AbortSignal | undefined;
}

/**
 * Every file is decoded, the chain has to be without a gap, and the newest state is restored and checked by SQLite.
 * @throws SpriteError not_found when there is no such chain, and what the store throws
 */
export async function verifyChain(options: VerifyOptions): Promise<ChainReport> {
  const { store, prefix, signal } = options;
  const files = await listChain(store, prefix, { signal });
  if (files.length === 0) throw new SpriteError("not_found", `the bucket has no ${prefix}`);
  const problems: string[] = [];
  for (const file of files) {
    const problem = await chainFileProblem(file, options);
    if (problem !== null) problems.push(problem);
  }
  const plan = planRestore(files);
  if (plan.kind === "gap") problems.push(`transaction ${plan.reachedTxid + 1} is missing`);
  if (problems.length === 0) problems.push(...(await restoreProblems(options)));
  return {
    files: files.length,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    newestTxid: Math.max(...files.map((file) => file.maxTxid)),
    problems,
  };
}

/** What is wrong with one file, in a sentence; null when it is sound, or is not there any more. */
export async function chainFileProblem(
  file: ChainFile,
  { store, prefix, signal }: VerifyOptions,
): Promise<string | null> {
  const key = ltxKey(prefix, file);
  const bytes = await store.get(key, { signal });
  // The writer's retention may have deleted it since the listing; a gap is found all the same.
  if (bytes === null) return null;
  try {
    const { header } = decodeLtx(bytes);
    if (header.minTxid === file.minTxid && header.maxTxid === file.maxTxid) return null;
    return `${key}: it holds other transactions than its name says`;
  } catch (error) {
    if (!(error instanceof SpriteError)) throw error;
    return `${key}: ${error.message}`;
  }
}

async function restoreProblems(options: VerifyOptions): Promise<string[]> {
  const scratch = await mkdtemp(join(tmpdir(), "opensprites-verify-"));
  try {
    const path = join(scratch, "restored.db");
    await restoreDatabase({ ...options, target: { kind: "latest" }, path });
    const database = Database.open(path);
    try {
      const verdict = database.pragma("integrity_check");
      return verdict === "ok" ? [] : [`the restored database: ${String(verdict)}`];
    } finally {
      database.close();
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
