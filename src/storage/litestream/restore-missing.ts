/** Fills a directory of databases from the bucket: what a server does first on a new machine. */
import { existsSync } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { syncDirectory } from "../local-files.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { newWriter } from "./chain-writer.ts";
import { fingerprintOf } from "./database-pages.ts";
import { claimReplica, type OwnerOptions } from "./replica-owner.ts";
import { writeReplicaState } from "./replica-state.ts";
import { restoreDatabase } from "./restore.ts";

export interface RestoreMissingOptions extends Omit<OwnerOptions, "prefix"> {
  directory: string;
  /** The databases' chains are at `<prefix>/<file name>`. */
  prefix: string;
  /** A database that was left alone, because its server lives. */
  onSkipped: (name: string, holder: SpriteError) => void;
}

/** The names of the databases that were restored. @throws SpriteError when one cannot be */
export async function restoreMissing(options: RestoreMissingOptions): Promise<string[]> {
  const { directory, prefix, store, signal, onSkipped } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const restored: string[] = [];
  for (const name of await databaseNames(store, prefix, signal)) {
    const path = join(directory, name);
    if (existsSync(path)) continue;
    const chain = { ...options, prefix: `${prefix}/${name}` };
    try {
      await claimReplica(chain);
    } catch (error) {
      if (!(error instanceof SpriteError) || error.code !== "conflict") throw error;
      onSkipped(name, error);
      continue;
    }
    if (await restoreOne(path, chain)) restored.push(name);
  }
  return restored;
}

/** False when the chain has not begun: its server died before the first transaction. */
async function restoreOne(
  path: string,
  { store, prefix, signal }: Pick<OwnerOptions, "store" | "prefix" | "signal">,
): Promise<boolean> {
  const draft = `${path}-restored`;
  await rm(draft, { force: true });
  try {
    const target = { kind: "latest" } as const;
    const database = await restoreDatabase({ store, prefix, target, path: draft, signal });
    const { txid, pageSizeBytes, commitPages } = database;
    const state = { writer: newWriter(), txid, wal: null, isAdopted: true };
    // Before the database: without it nobody would know what this is a copy of.
    await writeReplicaState(path, state);
    await rename(draft, path);
    await syncDirectory(dirname(path));
    const file = fingerprintOf(await stat(path, { bigint: true }));
    const wal = { txid, pageSizeBytes, commitPages, log: null, file, isFolded: true };
    await writeReplicaState(path, { ...state, wal });
    return true;
  } catch (error) {
    if (error instanceof SpriteError && error.code === "not_found") return false;
    throw error;
  }
}

/** Which databases the bucket has. Each is found by its first key; a listing goes on behind its last one. */
export async function databaseNames(
  store: ObjectStore,
  prefix: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const names: string[] = [];
  for (let startAfter = ""; ;) {
    const options = startAfter === "" ? { signal } : { signal, startAfter };
    let first: string | null = null;
    for await (const { key } of store.list(`${prefix}/`, options)) {
      first = key;
      break;
    }
    if (first === null) return names;
    const name = first.slice(prefix.length + 1).split("/")[0] ?? "";
    if (name.endsWith(".db")) names.push(name);
    startAfter = `${prefix}/${name}/~`;
  }
}
