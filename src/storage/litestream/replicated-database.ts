/**
 * Replicates a database that others write, through connections of its own. A reader of ours is in a
 * transaction all the time, so that nobody can begin the log anew behind our back:
 *
 * - While the reader reads from the log, SQLite does not reset it.
 * - A reader that begins when all of the log is in the file reads from the file alone (read mark 0). Then the log may
 *   be begun anew, once: as long as that reader stays, nothing of the new log can be folded.
 *
 * We alone fold the log, when all of it is in the bucket, and change readers so that they overlap.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { Database } from "../database.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { listChain, transactionWriter } from "./chain-files.ts";
import { ChainWriter, newWriter } from "./chain-writer.ts";
import type { DatabaseFile } from "./database-pages.ts";
import type { ChainFile, MaintenancePolicy } from "./database-replica.ts";
import { logSizeBytesMax, logSettledMs } from "./limits.ts";
import { claimReplica, type OwnerOptions } from "./replica-owner.ts";
import { readReplicaState, writeReplicaState, type ReplicaState } from "./replica-state.ts";
import { WalCapture } from "./wal-capture.ts";

export interface ReplicatedDatabaseOptions extends Omit<OwnerOptions, "signal"> {
  path: string;
  /** Of that path; stays open, since others have connections (database-pages.ts). */
  file: DatabaseFile;
  policy: MaintenancePolicy;
  nowMs: () => number;
}

export class ReplicatedDatabase {
  readonly #options: ReplicatedDatabaseOptions;
  readonly #database: Database;
  readonly #capture: WalCapture;
  readonly #chain: ChainWriter;
  #reader: Database;
  #state: ReplicaState;
  #seenLog = "";

  private constructor(
    options: ReplicatedDatabaseOptions,
    { state, files }: { state: ReplicaState; files: readonly ChainFile[] },
  ) {
    this.#options = options;
    this.#state = state;
    const { store, path, file, prefix, nowMs } = options;
    const { writer, txid, wal } = state;
    this.#database = Database.open(path, { isReplicated: true });
    this.#reader = openReader(path);
    this.#capture = WalCapture.open({ path, file, connection: this.#database, position: wal });
    const position = txid === 0 ? null : { txid, writer };
    this.#chain = new ChainWriter({ store, prefix, writer, position, files, nowMs });
  }

  /**
   * Opens a database that exists, and makes sure that its chain is our own.
   * @throws SpriteError conflict when the chain belongs to a server that lives, or has another history
   */
  static async open(
    options: ReplicatedDatabaseOptions,
    signal?: AbortSignal,
  ): Promise<ReplicatedDatabase> {
    const { path, prefix, store } = options;
    await claimReplica({ ...options, signal });
    const files = await listChain(store, prefix, { signal });
    const saved = await readReplicaState(path);
    const state = await continued(saved, { store, prefix, files, signal });
    // Before the first transaction: were we to die after it, nobody would know it for ours.
    if (state.txid === 0) await writeReplicaState(path, state);
    const replica = new ReplicatedDatabase(options, { state, files });
    try {
      if (state.isAdopted) await replica.#fence(signal);
      return replica;
    } catch (error) {
      replica.close();
      throw error;
    }
  }

  /** Whether the log looks other than at the last sync: a question to the file system only. */
  hasChanged(): boolean {
    return this.#logLook() !== this.#seenLog;
  }

  /** Ships what was committed. @throws SpriteError, FencedError */
  async sync(signal?: AbortSignal): Promise<void> {
    const look = this.#logLook();
    const change = this.#capture.capture();
    if (change !== null) {
      const { txid } = await this.#chain.ship(change, signal);
      this.#capture.advance(change, txid);
      await this.#save();
    }
    this.#seenLog = look;
    const pageSizeBytes = this.#capture.position()?.pageSizeBytes ?? 0;
    if (this.#database.walSizeFrames() * pageSizeBytes > logSizeBytesMax) await this.fold();
  }

  /** Merges, snapshots and deletes as the policy says; false, without a request, when nothing is due. */
  async maintain(signal?: AbortSignal): Promise<boolean> {
    const { policy, path } = this.#options;
    const scratchDirectory = dirname(path);
    const image = (): ReturnType<WalCapture["image"]> => this.#capture.image();
    const done = await this.#chain.maintain(policy, { image, scratchDirectory, signal });
    return done.snapshotTxid !== null || done.mergedFiles > 0 || done.deletedFiles > 0;
  }

  /** Folds the log, when all of it is in the bucket, so that it begins anew; false when it has to wait. */
  async fold(): Promise<boolean> {
    this.#changeReader();
    // Whatever is folded now was committed before this reader began.
    if (!this.#capture.isCaughtUp()) return false;
    const isFolded = this.#database.foldWal() && this.#capture.isCaughtUp();
    if (isFolded) this.#capture.noteFolded();
    this.#changeReader();
    if (isFolded) await this.#save();
    return isFolded;
  }

  close(): void {
    this.#reader.close();
    this.#database.close();
    this.#capture.close();
  }

  /** Takes the next transaction, though without a change, so that whoever wrote before us can no more. */
  async #fence(signal: AbortSignal | undefined): Promise<void> {
    const position = this.#capture.position();
    if (position === null) return;
    const { pageSizeBytes, commitPages } = position;
    const nothing = { pageSizeBytes, commitPages, isImage: false, pageCount: 0, pages: () => [] };
    await this.#chain.ship(nothing, signal);
    await this.#save();
  }

  async #save(): Promise<void> {
    const txid = this.#chain.position?.txid ?? 0;
    const wal = this.#capture.position();
    this.#state = { writer: this.#state.writer, txid, wal, isAdopted: false };
    await writeReplicaState(this.#options.path, this.#state);
  }

  #changeReader(): void {
    const next = openReader(this.#options.path);
    this.#reader.close();
    this.#reader = next;
  }

  #logLook(): string {
    const stat = statSync(`${this.#options.path}-wal`, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return "none";
    // Another commit may come within the same tick of the file system's clock.
    const ageMs = this.#options.nowMs() - Number(stat.mtimeMs);
    const isSettled = ageMs > logSettledMs;
    return `${stat.mtimeNs} ${stat.size} ${isSettled}`;
  }
}

function openReader(path: string): Database {
  const reader = Database.open(path, { isReplicated: true });
  // A deferred transaction begins to read with its first statement.
  reader.execute("BEGIN; SELECT count(*) FROM sqlite_schema");
  return reader;
}

/**
 * Which transaction we go on from; 0 to begin a chain.
 * @throws SpriteError conflict when the chain is not the local database's
 */
async function continued(
  saved: ReplicaState | null,
  options: {
    store: ObjectStore;
    prefix: string;
    files: readonly ChainFile[];
    signal: AbortSignal | undefined;
  },
): Promise<ReplicaState> {
  const { prefix, files } = options;
  const newestTxid = Math.max(0, ...files.map((file) => file.maxTxid));
  // An empty bucket is a new one: what the old one had is in the database.
  if (newestTxid === 0) return { writer: newWriter(), txid: 0, wal: null, isAdopted: false };
  if (saved === null || newestTxid < saved.txid) throw otherHistory(prefix);
  if (saved.isAdopted && newestTxid === saved.txid) return saved;
  // Later ones are ours, when we died after they were stored and before that was noted.
  const firstTxid = saved.isAdopted ? saved.txid + 1 : Math.max(1, saved.txid);
  for (let txid = firstTxid; txid <= newestTxid; txid += 1) {
    const writer = await transactionWriter({ ...options, txid });
    if (writer !== saved.writer) throw otherHistory(prefix);
  }
  return { ...saved, txid: newestTxid, isAdopted: false };
}

function otherHistory(prefix: string): SpriteError {
  return new SpriteError(
    "conflict",
    `${prefix} in the bucket has another history than the local database: ` +
      "move the local file away to go on from the bucket's, or use another bucket",
  );
}
