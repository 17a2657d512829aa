/**
 * What the parts of this room exchange. A database goes to the bucket in two steps: `WalCapture`
 * (wal-capture.ts) says what was committed since the last time, `ChainWriter` (chain-writer.ts)
 * makes it the next transaction of a chain of LTX files. docs/formats/litestream.md has the layout.
 */
import type { LtxPage } from "../ltx/format.ts";

/** The newest transaction that is known to be in the bucket, and who wrote it. */
export interface Position {
  txid: number;
  /** Node id of that file: 64 random bits that are new whenever local state begins anew. */
  writer: bigint;
}

/**
 * How far a database's write-ahead log is in the bucket. Kept beside the database as JSON, and
 * believed at the next open only when the log proves to be the same one.
 */
export interface WalPosition {
  /** The transaction that has everything before it. */
  txid: number;
  pageSizeBytes: number;
  /** The database's size there. */
  commitPages: number;
  /** Where the next frame begins, and what proves that it follows; null when the log was empty. */
  log: LogPosition | null;
  /**
   * The database file when it had nothing that is not before the position. As long as it still looks
   * like this, whatever the log holds beyond the position came later. Null: not known.
   */
  file: FileFingerprint | null;
  /** The file then had all before the position, so that the log may since have begun anew. */
  isFolded: boolean;
}

export interface LogPosition {
  /** Two random numbers in the log's header and in each of its frames. */
  salt1: number;
  salt2: number;
  offsetBytes: number;
  /** The running checksum of all that is before the offset. */
  checksum1: number;
  checksum2: number;
}

/** Differs when anybody has written to the file. Times are decimal nanoseconds: JSON has no such integers. */
export interface FileFingerprint {
  inode: string;
  sizeBytes: number;
  modifiedAtNs: string;
  changedAtNs: string;
}

/** What was committed since a position; the next transaction of the chain. */
export interface CapturedChange {
  pageSizeBytes: number;
  /** The database's size after it. */
  commitPages: number;
  /** Every page of the database: the first change, or one after the log's continuity was lost. */
  isImage: boolean;
  pageCount: number;
  /**
   * The pages in ascending order, read from the files as they are asked for; the bytes are valid
   * until the next one. Can be repeated until the change is advanced past or released.
   * @throws SpriteError storage_failure when the database's files are damaged; at the end also when
   * somebody has folded the log meanwhile, so that what was read is to be forgotten
   */
  pages(): Iterable<LtxPage>;
}

/** A database as one connection sees it, for `WalCapture`. `Database` (storage/database.ts) is one. */
export interface WalConnection {
  /** Frames of committed transactions in the log. Costs microseconds and no file access. */
  walSizeFrames(): number;
  /** Folds the whole log into the database and cuts it to nothing; false when somebody still reads it. */
  truncateWal(): boolean;
}

/** Follows one database's log. All calls are synchronous, on the thread of the database's connection. */
export interface Capture {
  /**
   * What was committed since the last `advance`; null when nothing was. Changes nothing: asked again
   * it tells at least as much. An image when the log's continuity is lost.
   * @throws SpriteError storage_failure when the log is damaged, so that nothing wrong is shipped
   */
  capture(): CapturedChange | null;
  /** The change is in the bucket, as that transaction: later captures begin after it. */
  advance(change: CapturedChange, txid: number): void;
  /**
   * The whole database as it was at the last `advance`, for a snapshot of that transaction, whatever
   * was committed since. Null before the first one, and when it can no longer be told apart from what
   * came later. The log is not cut until the image is released.
   */
  image(): DatabaseImage | null;
  /** To be saved beside the database once what was advanced past is in the bucket; null: nothing is. */
  position(): WalPosition | null;
  /** Folds a log that is longer than the limit, but only if all that is committed was advanced past. */
  truncateIfLong(sizeBytesMax?: number): boolean;
  /** Gives back the files. Comes after the close of the process's last connection to the database. */
  close(): void;
}

export interface DatabaseImage extends CapturedChange {
  /** The transaction that it is a snapshot of. */
  txid: number;
  release(): void;
}

/** One file of a chain, as its key and a listing tell. */
export interface ChainFile {
  level: number;
  minTxid: number;
  maxTxid: number;
  sizeBytes: number;
  /** Of the newest transaction inside, as its writer's clock said; from a listing the time of the upload. */
  createdAtMs: number;
  /** When the object was stored, where that is known: it may be long after. */
  storedAtMs?: number;
}

/** One chain of LTX files below a prefix, and its one writer. */
export interface Chain {
  /** Null: the chain is empty, and its first transaction must be an image. */
  readonly position: Position | null;
  /** The files of the chain that this writer knows, in the order of level and TXID: head.json's hint. */
  files(): readonly ChainFile[];
  /**
   * Makes the change the next transaction, by a create-only PUT in level 0. When one of ours is there
   * already, of an attempt whose answer was lost, the change goes on top of it.
   * @throws FencedError when another writer has made that transaction; nothing may be shipped any more
   * @throws SpriteError as the store does: it may have happened or not, and is to be shipped again
   */
  ship(change: CapturedChange, signal?: AbortSignal): Promise<Position>;
  /**
   * Merges files into higher levels, makes a snapshot, and deletes what no restore within the
   * retention needs, as far as the policy calls for it. Makes no request when nothing is due.
   */
  maintain(policy: MaintenancePolicy, options: MaintenanceOptions): Promise<MaintenanceResult>;
}

export interface MaintenancePolicy {
  /** From level 1 upwards without a gap; at most 8. */
  levels: readonly LevelPolicy[];
  snapshot: {
    /** A changed database gets a snapshot that often. Infinity: never for its age. */
    everyMs: number;
    /** ... and when the files since the last one weigh more than so many times its size. */
    outweighsBy: number;
  };
  /** Every state that was the newest within this time can be restored. */
  retentionMs: number;
  /**
   * How fine a restore can aim: single transactions stay that long. So do files that others stand in
   * for, after those were stored: a reader may have planned with them.
   */
  levelZeroRetentionMs: number;
}

export interface LevelPolicy {
  /** The level below is merged into this one when its oldest unmerged file is that old ... */
  everyMs: number;
  /** ... or when it has more unmerged files than this. */
  filesMax: number;
}

export interface MaintenanceOptions {
  /** For a snapshot; as `Capture.image`. */
  image: () => DatabaseImage | null;
  /** Where a snapshot is put together before it is stored: a directory on a local disk. */
  scratchDirectory: string;
  signal?: AbortSignal | undefined;
}

export interface MaintenanceResult {
  /** A snapshot of this transaction was made. */
  snapshotTxid: number | null;
  mergedFiles: number;
  deletedFiles: number;
}
