/**
 * A database, its capture and its chain, as a volume or the replicator drives them, with a crash possible
 * between any two steps, and a memory of every state that was ever captured.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SpriteError } from "../../../contract/errors.ts";
import { Database } from "../../database.ts";
import { isFenced } from "../../lease/fenced-error.ts";
import type { MemoryObjectStore } from "../../object-store/testing/memory-object-store.ts";
import { ChainWriter } from "../chain-writer.ts";
import type { ChainFile, MaintenancePolicy, Position, WalPosition } from "../database-replica.ts";
import { restoreDatabase } from "../restore.ts";
import { WalCapture } from "../wal-capture.ts";

/** Where a process may die within a sync. */
export type CrashPoint = "captured" | "shipped" | "advanced";

/** What is kept beside the database. */
interface Saved {
  position: Position | null;
  wal: WalPosition | null;
  files: readonly ChainFile[];
}

export class ReplicaRig {
  readonly store: MemoryObjectStore;
  readonly prefix: string;
  readonly #directory: string;
  readonly #pageSizeBytes: number;
  readonly #writer: bigint;
  nowMs: number;
  #incarnation = 0;
  #saved: Saved = { position: null, wal: null, files: [] };
  #database!: Database;
  #capture!: WalCapture;
  #chain!: ChainWriter;
  /** Every state that was captured, in order: a transaction in the bucket is one of them. */
  readonly #states: Uint8Array[] = [];
  /** What was shipped as which transaction, and when. */
  readonly shipped: { txid: number; bytes: Uint8Array; atMs: number }[] = [];

  constructor(options: {
    store: MemoryObjectStore;
    directory: string;
    pageSizeBytes: number;
    writer?: bigint;
    prefix?: string;
    nowMs?: number;
  }) {
    this.store = options.store;
    this.prefix = options.prefix ?? "orgs/test.db";
    this.#directory = options.directory;
    this.#pageSizeBytes = options.pageSizeBytes;
    this.#writer = options.writer ?? 0xfeed_0000_0000_0001n;
    this.nowMs = options.nowMs ?? 1_000_000;
    mkdirSync(this.#directory, { recursive: true });
    this.#open();
  }

  get database(): Database {
    return this.#database;
  }

  get capture(): WalCapture {
    return this.#capture;
  }

  get chain(): ChainWriter {
    return this.#chain;
  }

  get #path(): string {
    return join(this.#directory, `${this.#incarnation}.db`);
  }

  /** Captures, ships, advances, saves; dies at the point, if one is given. Failures of the store are survived. */
  async sync(crash?: CrashPoint): Promise<void> {
    const change = this.#capture.capture();
    if (change === null) return;
    const bytes = this.#database.serialize();
    this.#states.push(bytes);
    if (crash === "captured") return this.crash();
    try {
      const { txid } = await this.#chain.ship(change);
      this.shipped.push({ txid, bytes, atMs: this.nowMs });
      if (crash === "shipped") return this.crash();
      this.#capture.advance(change, txid);
    } catch (error) {
      surviveStoreFailure(error);
      return;
    }
    if (crash === "advanced") return this.crash();
    this.save();
  }

  save(): void {
    const { position } = this.#chain;
    this.#saved = { position, wal: this.#capture.position(), files: this.#chain.files() };
  }

  truncate(): void {
    if (this.#capture.truncateIfLong(0)) this.save();
  }

  async maintain(policy: MaintenancePolicy): Promise<void> {
    try {
      const scratchDirectory = this.#directory;
      await this.#chain.maintain(policy, { image: () => this.#capture.image(), scratchDirectory });
      this.save();
    } catch (error) {
      surviveStoreFailure(error);
    }
  }

  /** The process dies: what it had in memory is gone, its files stay as they are. */
  crash(): void {
    const dead = { database: this.#database, capture: this.#capture, path: this.#path };
    this.#incarnation += 1;
    for (const suffix of ["", "-wal"]) {
      if (existsSync(dead.path + suffix)) copyFileSync(dead.path + suffix, this.#path + suffix);
    }
    dead.database.close();
    dead.capture.close();
    this.#open();
  }

  /** In order, whether or not the bucket has everything. */
  reopen(): void {
    this.truncate();
    this.close();
    this.#open();
  }

  /** Somebody opens the database, writes to it and folds its log. */
  interfere(sql: string): void {
    const other = Database.open(this.#path);
    other.execute(sql);
    other.truncateWal();
    other.close();
  }

  close(): void {
    this.#database.close();
    this.#capture.close();
  }

  /**
   * Restores every transaction that the chain ever had: each is byte for byte what was captured, or is
   * out of the policy's retention.
   */
  async verify(policy: MaintenancePolicy): Promise<void> {
    const newest = this.#chain.position?.txid ?? 0;
    let oldestState = 0;
    for (let txid = 1; txid <= newest; txid += 1) {
      const bytes = await this.#restore(txid);
      if (bytes === null) {
        const next = this.shipped.find((transaction) => transaction.txid > txid);
        const wasReplacedAtMs = next?.atMs ?? this.nowMs;
        const keptSinceMs = this.nowMs - policy.levelZeroRetentionMs;
        assert.ok(wasReplacedAtMs <= keptSinceMs, `transaction ${txid} of ${newest} is gone`);
        continue;
      }
      const known = this.shipped.find((transaction) => transaction.txid === txid);
      if (known !== undefined) assert.ok(isSame(bytes, known.bytes), `transaction ${txid} differs`);
      const state = this.#states.findIndex(
        (captured, index) => index >= oldestState && isSame(captured, bytes),
      );
      assert.ok(state >= 0, `transaction ${txid} is no state that the database ever had`);
      oldestState = state;
    }
    const last = this.shipped.at(-1);
    if (last !== undefined) {
      assert.equal(newest, last.txid);
      assert.ok(
        isSame((await this.#restore(newest)) ?? new Uint8Array(), last.bytes),
        "the newest",
      );
    }
  }

  async #restore(txid: number): Promise<Uint8Array | null> {
    const path = join(this.#directory, `restored-${txid}.db`);
    rmSync(path, { force: true });
    try {
      const target = { kind: "txid", txid } as const;
      await restoreDatabase({ store: this.store, prefix: this.prefix, target, path });
      return readFileSync(path);
    } catch (error) {
      if (error instanceof SpriteError && error.code === "not_found") return null;
      throw error;
    } finally {
      rmSync(path, { force: true });
    }
  }

  #open(): void {
    const path = this.#path;
    this.#database = Database.open(path, {
      create: true,
      isReplicated: true,
      pageSizeBytes: this.#pageSizeBytes,
    });
    const { position, wal, files } = this.#saved;
    this.#capture = WalCapture.open({ path, connection: this.#database, position: wal });
    this.#chain = new ChainWriter({
      ...{ store: this.store, prefix: this.prefix, writer: this.#writer, position, files },
      nowMs: () => this.nowMs,
    });
  }
}

function surviveStoreFailure(error: unknown): void {
  if (!(error instanceof SpriteError) || isFenced(error)) throw error;
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
