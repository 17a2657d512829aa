import SqliteDatabase from "better-sqlite3";
import { existsSync } from "node:fs";
import { must } from "../base/assert.ts";
import { SpriteError } from "../contract/errors.ts";

/**
 * SQLite as the storage room uses it: write-ahead log, every commit synced, one writer, prepared statements.
 * Errors of SQLite become SpriteErrors here, so that no caller has to know its codes.
 */

/**
 * A wait for another connection's lock. One process writes a file, so only a dying predecessor is
 * ever waited for.
 */
const busyTimeoutMs = 5_000;
/** Negative means KiB in SQLite's own notation. */
const pageCacheSizeKiB = 8 * 1024;
/** The log is folded into the file above this size, so that one cut's commit seldom has to. */
const walSizePagesMax = 4_096;

const pageSizeBytesDefault = 4_096;

export type SqlValue = string | number | bigint | Uint8Array | null;
export type Statement<Parameters extends SqlValue[], Row> = Pick<
  SqliteDatabase.Statement<Parameters, Row>,
  "get" | "all" | "run" | "iterate"
>;

export interface DatabaseOptions {
  readOnly?: boolean;
  /** Makes the file when it is missing; otherwise a missing file is an error. */
  create?: boolean;
  /** Of a new file. */
  pageSizeBytes?: number;
  /**
   * The log is replicated, so nothing but `truncateWal` folds it, as long as this is the only
   * connection.
   */
  isReplicated?: boolean;
}

/** SQLite's answer: frames in the log, and how many of them are in the file too. */
interface CheckpointRow {
  busy: number;
  log: number;
  checkpointed: number;
}

export class Database {
  readonly path: string;
  readonly #sqlite: SqliteDatabase.Database;
  /** Made when it is first used: it comes with a dozen statements. */
  #transaction: ((work: () => void) => void) | null = null;
  #walSize: SqliteDatabase.Statement<[], CheckpointRow> | null = null;

  private constructor(path: string, sqlite: SqliteDatabase.Database) {
    this.path = path;
    this.#sqlite = sqlite;
  }

  static open(path: string, options: DatabaseOptions = {}): Database {
    return translateErrors(`open database ${path}`, () => {
      const sqlite = new SqliteDatabase(path, {
        readonly: options.readOnly ?? false,
        fileMustExist: !(options.create ?? false),
        timeout: busyTimeoutMs,
      });
      try {
        sqlite.exec(settingsOf(options));
      } catch (error) {
        sqlite.close();
        throw error;
      }
      return new Database(path, sqlite);
    });
  }

  /** Compiled when it is first used: whoever opens a volume needs a few of its fifty statements. */
  prepare<Parameters extends SqlValue[], Row = never>(sql: string): Statement<Parameters, Row> {
    return new LazyStatement<Parameters, Row>(() =>
      translateErrors("prepare statement", () => this.#sqlite.prepare<Parameters, Row>(sql)),
    );
  }

  execute(sql: string): void {
    translateErrors("execute SQL", () => this.#sqlite.exec(sql));
  }

  /** The single value of a pragma. */
  pragma(text: string): unknown {
    return translateErrors(`pragma ${text}`, () => this.#sqlite.pragma(text, { simple: true }));
  }

  /** Runs the work in one immediate transaction: all of it is committed, or none. */
  transaction<T>(what: string, work: () => T): T {
    const results: T[] = [];
    this.#transaction ??= this.#sqlite.transaction((run: () => void) => run()).immediate;
    const transaction = this.#transaction;
    translateErrors(what, () => transaction(() => results.push(work())));
    return results[0] as T;
  }

  /** Reads under one error translation, without a transaction. */
  read<T>(what: string, work: () => T): T {
    return translateErrors(what, work);
  }

  /** The file's content as of now, with everything that is still in the write-ahead log. */
  serialize(): Uint8Array {
    return translateErrors("serialize database", () => this.#sqlite.serialize());
  }

  /** Frames of committed transactions in the log, as SQLite's index counts them; no file is read. */
  walSizeFrames(): number {
    const row = translateErrors("read the log's size", () => {
      this.#walSize ??= this.#sqlite.prepare("PRAGMA wal_checkpoint(NOOP)");
      return this.#walSize.get();
    });
    return must(row, "SQLite counts its log").log;
  }

  /** Folds the whole log into the file and cuts it to nothing; false when a reader still needs it. */
  truncateWal(): boolean {
    return this.#checkpoint("TRUNCATE").busy === 0;
  }

  /** Folds what no reader needs into the file, without waiting; true when the file now has all of the log. */
  foldWal(): boolean {
    const { log, checkpointed } = this.#checkpoint("PASSIVE");
    return log === checkpointed;
  }

  #checkpoint(mode: "PASSIVE" | "TRUNCATE"): CheckpointRow {
    const text = `wal_checkpoint(${mode})`;
    const rows = translateErrors(`pragma ${text}`, () => this.#sqlite.pragma(text));
    return (rows as CheckpointRow[])[0] as CheckpointRow;
  }

  close(): void {
    translateErrors(`close database ${this.path}`, () => this.#sqlite.close());
  }
}

function settingsOf({
  readOnly = false,
  isReplicated = false,
  ...options
}: DatabaseOptions): string {
  return [
    // A page size can only be chosen while the file is empty; later it is a harmless no-op.
    `PRAGMA page_size = ${options.pageSizeBytes ?? pageSizeBytesDefault}`,
    ...(readOnly ? [] : ["PRAGMA journal_mode = WAL"]),
    // FULL: a commit has reached the disk when it returns. The residency log relies on it.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    `PRAGMA cache_size = -${pageCacheSizeKiB}`,
    `PRAGMA wal_autocheckpoint = ${isReplicated ? 0 : walSizePagesMax}`,
  ].join("; ");
}

class LazyStatement<Parameters extends SqlValue[], Row> implements Statement<Parameters, Row> {
  readonly #prepare: () => SqliteDatabase.Statement<Parameters, Row>;
  #prepared: SqliteDatabase.Statement<Parameters, Row> | null = null;

  constructor(prepare: () => SqliteDatabase.Statement<Parameters, Row>) {
    this.#prepare = prepare;
  }

  get #statement(): SqliteDatabase.Statement<Parameters, Row> {
    return (this.#prepared ??= this.#prepare());
  }

  get(...values: Parameters): Row | undefined {
    return this.#statement.get(...values);
  }

  all(...values: Parameters): Row[] {
    return this.#statement.all(...values);
  }

  run(...values: Parameters): SqliteDatabase.RunResult {
    return this.#statement.run(...values);
  }

  iterate(...values: Parameters): IterableIterator<Row> {
    return this.#statement.iterate(...values);
  }
}

/** The files that SQLite keeps beside a database; stale ones must never meet another database file. */
export function sidecarPaths(path: string): string[] {
  return [`${path}-wal`, `${path}-shm`, `${path}-journal`].filter((file) => existsSync(file));
}

/** Runs the work; what SQLite throws becomes disk_full or storage_failure, with the cause kept. */
function translateErrors<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SqliteDatabase.SqliteError)) throw error;
    const code = error.code === "SQLITE_FULL" ? "disk_full" : "storage_failure";
    throw new SpriteError(code, `${what}: ${error.message}`, { cause: error });
  }
}
