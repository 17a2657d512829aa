/** Stands in for better-sqlite3: real SQLite, whose commits are steps at which the process can die. */
import SqliteDatabase from "better-sqlite3";
import { existsSync, readFileSync } from "node:fs";
import { runningProcess } from "../scheduler.ts";
import type { SimulatedProcess } from "../simulated-process.ts";
import { nameOf, noteDatabaseChange } from "./file-access.ts";

/** What SQLite's log needs at least. */
const pagesOfCommitMin = 2;

type Work = (...values: never[]) => unknown;

class SimulatedSqlite extends SqliteDatabase {
  readonly #process: SimulatedProcess | null = runningProcess();
  readonly #path: string;
  readonly #forget: (() => void) | null;

  constructor(path: string, options?: SqliteDatabase.Options) {
    runningProcess()?.check();
    runningProcess()?.disk.makeRealDirectoryOf(path);
    noteDatabaseChange();
    super(path, options);
    this.#path = path;
    this.#forget = this.#process?.closeAtDeath(() => super.close()) ?? null;
  }

  override transaction<F extends Work>(work: F): SqliteDatabase.Transaction<F> {
    const real = super.transaction(work as never) as unknown as SqliteDatabase.Transaction<F>;
    const immediate = (...values: never[]): unknown =>
      this.#commit(() => (real.immediate as Work)(...values));
    return Object.assign((...values: never[]) => real(...(values as never)), {
      immediate,
    }) as never;
  }

  #commit(commit: () => unknown): unknown {
    const process = this.#process;
    if (process === null) return commit();
    const { disk, scheduler } = process;
    if (disk.pagesLeft < pagesOfCommitMin && scheduler.chance(0.7)) {
      throw new SqliteDatabase.SqliteError("database or disk is full", "SQLITE_FULL");
    }
    const log = `${this.#path}-wal`;
    const tear = (): void => {
      const before = existsSync(log) ? readFileSync(log) : Buffer.alloc(0);
      commit();
      process.torn = { path: log, before };
    };
    return process.act(`commit ${nameOf(this.#path)}`, commit, tear);
  }

  override exec(sql: string): this {
    this.#process?.check();
    noteDatabaseChange();
    return super.exec(sql);
  }

  override pragma(text: string, options?: SqliteDatabase.PragmaOptions): unknown {
    const process = this.#process;
    if (process === null || !text.startsWith("wal_checkpoint")) return super.pragma(text, options);
    return process.act(`${text} ${nameOf(this.#path)}`, () => {
      if (!text.includes("NOOP")) noteDatabaseChange();
      const result = super.pragma(text, options);
      process.disk.syncedByDatabase(this.#path);
      return result;
    });
  }

  override close(): this {
    this.#process?.check();
    this.#forget?.();
    noteDatabaseChange();
    return super.close();
  }
}

// oxlint-disable-next-line import/no-default-export -- the module that it stands in for has one
export default SimulatedSqlite;
