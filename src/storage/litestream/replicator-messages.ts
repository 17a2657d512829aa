/** What the replicator's thread and whoever started it say to each other. */
import type { WireError } from "../volume/rpc.ts";

export interface ReplicatorPlace {
  /** As for `openObjectStore`. */
  bucket: string;
  directory: string;
  prefix: string;
  /** This server's id. */
  server: string;
}

export type ReplicatorMessage =
  /** All databases of the directory are known to be ours; these were restored from the bucket. */
  | { type: "ready"; restored: string[] }
  | { type: "failed"; error: WireError }
  /** The database is left to the server that has it. */
  | { type: "skipped"; name: string; error: WireError }
  /** Null: it is replicated again. */
  | { type: "problem"; name: string; problem: WireError | null }
  | { type: "drained" };

/** The only thing that the thread is ever told: ship the rest and end. */
export interface DrainMessage {
  type: "drain";
  timeoutMs: number;
}
