import { SpriteError } from "../../contract/errors.ts";
import type { SqlValue } from "../database.ts";
import { BTree, readTreeFormat, type RowId, type TreeFormat } from "./b-tree.ts";
import { damagedDatabase, type PageReader } from "./pages.ts";

/** Key or bound of a scan: the row id of a table, or the first columns of the key of one WITHOUT ROWID. */
export type Key = readonly SqlValue[];

export interface RemoteRow {
  /** Null in a table WITHOUT ROWID. */
  rowid: RowId | null;
  values: SqlValue[];
}

/** The tables of a database that is read page by page. */
export class RemoteTables {
  readonly #pages: PageReader;
  readonly #format: TreeFormat;
  readonly #roots: ReadonlyMap<string, number>;

  private constructor(pages: PageReader, format: TreeFormat, roots: ReadonlyMap<string, number>) {
    this.#pages = pages;
    this.#format = format;
    this.#roots = roots;
  }

  /** Reads the schema: one page, when there are not very many tables. */
  static async open(pages: PageReader): Promise<RemoteTables> {
    const format = await readTreeFormat(pages);
    const roots = new Map<string, number>();
    const schema = new BTree(pages, format, 1);
    for await (const { values } of schema.scanRowIds(0, Number.MAX_SAFE_INTEGER)) {
      const [type, name, , rootPgno] = values;
      if (typeof type !== "string" || typeof name !== "string") throw damagedDatabase("its schema");
      if (type === "table" && typeof rootPgno === "number") roots.set(name, rootPgno);
    }
    return new RemoteTables(pages, format, roots);
  }

  /** @throws SpriteError storage_failure when there is no such table */
  async table(name: string): Promise<RemoteTable> {
    const rootPgno = this.#roots.get(name);
    if (rootPgno === undefined) throw new SpriteError("storage_failure", `no table ${name}`);
    const tree = new BTree(this.#pages, this.#format, rootPgno);
    return new RemoteTable(tree, await tree.hasRowIds());
  }
}

/**
 * One table. Rows come as arrays: of a table with row ids in the order of its columns, the column that is the row id
 * being null, as SQLite stores it; of one WITHOUT ROWID the primary key's columns first. Keys are in ascending order
 * and compared byte by byte (collation BINARY); other keys are not for this reader.
 */
export class RemoteTable {
  readonly #tree: BTree;
  readonly #hasRowIds: boolean;

  constructor(tree: BTree, hasRowIds: boolean) {
    this.#tree = tree;
    this.#hasRowIds = hasRowIds;
  }

  /** The row with that row id, or that whole primary key; null when there is none. */
  findRow(...key: SqlValue[]): Promise<SqlValue[] | null> {
    return this.#hasRowIds ? this.#tree.findByRowId(rowId(key)) : this.#tree.findByKey(key);
  }

  /** The rows between two keys, both included, in their order. Of a primary key the first columns are enough. */
  async *scanRange(from: Key, to: Key): AsyncGenerator<RemoteRow> {
    if (this.#hasRowIds) {
      yield* this.#tree.scanRowIds(rowId(from), rowId(to));
      return;
    }
    for await (const values of this.#tree.scanKeys(from, to)) yield { rowid: null, values };
  }
}

function rowId(key: Key): RowId {
  const [value] = key;
  if (key.length !== 1 || (typeof value !== "number" && typeof value !== "bigint")) {
    throw new RangeError("the key of this table is one row id");
  }
  return value;
}
