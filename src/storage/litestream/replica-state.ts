/**
 * What is kept beside a replicated database, as `<file>-replica`: how far it is in the bucket. Written after
 * every transaction that was shipped; without it the database and its chain are not known to be the same.
 */
import { readFile } from "node:fs/promises";
import { replaceFile } from "../local-files.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { WalPosition } from "./database-replica.ts";

export interface ReplicaState {
  /** Node id of our files. */
  writer: bigint;
  /** The newest transaction that is known to be in the bucket. */
  txid: number;
  wal: WalPosition | null;
  /** The database was restored at that transaction, which somebody else made; ours have yet to begin. */
  isAdopted: boolean;
}

const formatVersion = 1;

function replicaStatePath(databasePath: string): string {
  return `${databasePath}-replica`;
}

/** Null when there is none. @throws SpriteError storage_failure when it cannot be understood */
export async function readReplicaState(databasePath: string): Promise<ReplicaState | null> {
  const path = replicaStatePath(databasePath);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return null;
  const state = parse(text);
  if (state !== null) return state;
  throw new SpriteError("storage_failure", `${path} is damaged`);
}

export async function writeReplicaState(databasePath: string, state: ReplicaState): Promise<void> {
  const { writer, ...fields } = state;
  const text = JSON.stringify({ formatVersion, writer: writer.toString(16), ...fields });
  await replaceFile(replicaStatePath(databasePath), `${text}\n`);
}

function parse(text: string): ReplicaState | null {
  try {
    const fields = JSON.parse(text) as Record<string, unknown>;
    const { writer, txid, wal, isAdopted } = fields;
    if (fields["formatVersion"] !== formatVersion) return null;
    if (typeof writer !== "string" || !/^[0-9a-f]{1,16}$/.test(writer)) return null;
    if (typeof txid !== "number" || !Number.isSafeInteger(txid) || txid < 0) return null;
    if ((wal !== null && typeof wal !== "object") || typeof isAdopted !== "boolean") return null;
    // What is in it is only believed when the log proves it, so that a wrong field costs an image.
    return { writer: BigInt(`0x${writer}`), txid, wal: wal as WalPosition | null, isAdopted };
  } catch {
    return null;
  }
}
