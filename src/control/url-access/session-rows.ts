import type { Buffer } from "node:buffer";

import type { Sqlite } from "../database.ts";

export interface UrlSessionRow {
  id: string;
  hash: Buffer;
  /** Null: the login page's own session. */
  host: string | null;
  loginId: string;
  credential: string;
  expiresAtMs: number;
}

/** Browsers that have logged in. Every method is one statement or one transaction. */
export class UrlSessionRows {
  readonly #database: Sqlite;
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(database: Sqlite) {
    this.#database = database;
    this.#statements = prepareStatements(database);
  }

  /** Drops what is over, and the oldest beyond the limit. */
  insert(row: UrlSessionRow, limits: { nowMs: number; rowsMax: number }): void {
    const run = this.#database.transaction(() => {
      this.#statements.deleteExpired.run(limits.nowMs);
      this.#statements.insert.run(row);
      this.#statements.deleteBeyond.run(limits.rowsMax);
    });
    run.immediate();
  }

  find(id: string): UrlSessionRow | null {
    return this.#statements.find.get(id) ?? null;
  }

  deleteLogin(loginId: string): void {
    this.#statements.deleteLogin.run(loginId);
  }
}

function prepareStatements(database: Sqlite) {
  return {
    insert: database.prepare<[UrlSessionRow]>(
      `INSERT INTO url_session (id, hash, host, login_id, credential, expires_at_ms)
         VALUES (@id, @hash, @host, @loginId, @credential, @expiresAtMs)`,
    ),
    find: database.prepare<[string], UrlSessionRow>(
      `SELECT id, hash, host, login_id AS loginId, credential, expires_at_ms AS expiresAtMs
         FROM url_session WHERE id = ?`,
    ),
    deleteLogin: database.prepare<[string]>("DELETE FROM url_session WHERE login_id = ?"),
    deleteExpired: database.prepare<[number]>("DELETE FROM url_session WHERE expires_at_ms <= ?"),
    deleteBeyond: database.prepare<[number]>(
      `DELETE FROM url_session WHERE id IN
         (SELECT id FROM url_session ORDER BY expires_at_ms DESC LIMIT -1 OFFSET ?)`,
    ),
  };
}
