import type SqliteDatabase from "better-sqlite3";
import { encodeLtx } from "../../ltx/encode.ts";
import { ltxHeader } from "../../ltx/format.ts";
import { ltxKey } from "../../ltx/names.ts";
import type { PlannedFile } from "../ltx-object.ts";

export interface ChainFile extends PlannedFile {
  bytes: Uint8Array;
}

/** Records what a database goes through as a chain of LTX files. */
export class ChainRecorder {
  readonly files: ChainFile[] = [];
  readonly #database: SqliteDatabase.Database;
  readonly #pageSizeBytes: number;
  #before: Buffer = Buffer.alloc(0);

  constructor(database: SqliteDatabase.Database, pageSizeBytes: number) {
    this.#database = database;
    this.#pageSizeBytes = pageSizeBytes;
  }

  /** The database as SQLite would write its file. */
  get database(): Buffer {
    return this.#before;
  }

  /** Adds the pages that changed since the last call as one transaction. */
  commit(): void {
    const size = this.#pageSizeBytes;
    const after = this.#database.serialize();
    const txid = this.files.length + 1;
    const fields = { minTxid: txid, maxTxid: txid, timestampMs: txid };
    const header = ltxHeader({ ...fields, pageSizeBytes: size, commitPages: after.length / size });
    const pages = Array.from({ length: after.length / size }, (_, at) => ({
      pgno: at + 1,
      bytes: after.subarray(at * size, at * size + size),
    }));
    const changed = pages.filter(
      ({ pgno, bytes }) => !bytes.equals(this.#before.subarray((pgno - 1) * size, pgno * size)),
    );
    const bytes = encodeLtx(header, changed);
    const key = ltxKey("p/meta", { level: 0, minTxid: txid, maxTxid: txid });
    this.files.push({ key, sizeBytes: bytes.length, minTxid: txid, maxTxid: txid, bytes });
    this.#before = after;
  }
}
