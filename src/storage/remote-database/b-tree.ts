import type { SqlValue } from "../database.ts";
import { rowSizeBytesMax, treeDepthMax } from "./limits.ts";
import { damagedDatabase, type PageReader } from "./pages.ts";
import { ByteReader, compareToKey, decodeRecord, type TextEncoding } from "./record.ts";

/**
 * Reads SQLite's B-trees page by page, without SQLite: for the moments before a database is local. Nobody may write
 * meanwhile. After sqlite.org/fileformat2.html, sections 1.3 and 1.6.
 */

const databaseHeaderSizeBytes = 100;
const interiorIndex = 2;
const interiorTable = 5;
const leafIndex = 10;
const leafTable = 13;

/** What the header of page 1 says about all pages. */
export interface TreeFormat {
  /** Of each page, without what an extension reserved at its end. */
  usableSizeBytes: number;
  encoding: TextEncoding;
}

export type RowId = number | bigint;

export interface TableRow {
  rowid: RowId;
  values: SqlValue[];
}

/** One page of a tree, with its cells found. */
interface TreePage {
  reader: ByteReader;
  isLeaf: boolean;
  /** Rows by rowid; otherwise an index, or the rows of a table WITHOUT ROWID. */
  isTable: boolean;
  cells: number[];
  /** The child behind the last cell; 0 in a leaf. */
  lastChild: number;
}

/** @throws SpriteError storage_failure when the first page is not a SQLite database's */
export async function readTreeFormat(pages: PageReader): Promise<TreeFormat> {
  const reader = new ByteReader(await pages.readPage(1));
  if (Buffer.from(reader.take(16)).toString("latin1") !== "SQLite format 3\0") {
    throw damagedDatabase("it is no SQLite database");
  }
  const pageSizeField = reader.u16();
  const pageSizeBytes = pageSizeField === 1 ? 65_536 : pageSizeField;
  reader.at = 20;
  const usableSizeBytes = pageSizeBytes - reader.u8();
  reader.at = 56;
  const encoding = (["utf8", "utf8", "utf16le", "utf16be"] as const)[reader.u32()];
  if (pageSizeBytes !== pages.pageSizeBytes || usableSizeBytes < 480 || encoding === undefined) {
    throw damagedDatabase("its header is not sound");
  }
  return { usableSizeBytes, encoding };
}

/** The tree whose root page is `rootPgno`. */
export class BTree {
  readonly #pages: PageReader;
  readonly #format: TreeFormat;
  readonly #rootPgno: number;

  constructor(pages: PageReader, format: TreeFormat, rootPgno: number) {
    this.#pages = pages;
    this.#format = format;
    this.#rootPgno = rootPgno;
  }

  /** True for a table with row ids, false for one WITHOUT ROWID or an index. */
  async hasRowIds(): Promise<boolean> {
    return (await this.#page(this.#rootPgno, 0)).isTable;
  }

  /** The row of a table with that id, or null. */
  async findByRowId(rowid: RowId): Promise<SqlValue[] | null> {
    let pgno = this.#rootPgno;
    for (let depth = 0; ; depth++) {
      const page = await this.#page(pgno, depth);
      const at = firstCell(page, (cell) => this.#rowIdOf(page, cell) >= rowid);
      if (!page.isLeaf) {
        pgno = childOf(page, at);
        continue;
      }
      const cell = page.cells[at];
      if (cell === undefined || this.#rowIdOf(page, cell) !== rowid) return null;
      return decodeRecord(await this.#payload(page, cell), this.#format.encoding);
    }
  }

  /** A row of an index tree whose first columns are the key, or null: the row, when the key is the whole primary key. */
  async findByKey(key: readonly SqlValue[]): Promise<SqlValue[] | null> {
    let pgno = this.#rootPgno;
    for (let depth = 0; ; depth++) {
      const page = await this.#page(pgno, depth);
      const { at, row } = await this.#firstNotBefore(page, key);
      if (row !== null && compareToKey(row, key) === 0) return row;
      if (page.isLeaf) return null;
      pgno = childOf(page, at);
    }
  }

  /** The rows of a table with ids from `from` to `to`, both included, in their order. */
  async *scanRowIds(from: RowId, to: RowId): AsyncGenerator<TableRow> {
    yield* this.#scanTable(this.#rootPgno, from, to, 0);
  }

  /** The rows of an index tree from key `from` to key `to`, both included; a shorter key stands for all that begin with it. */
  async *scanKeys(from: readonly SqlValue[], to: readonly SqlValue[]): AsyncGenerator<SqlValue[]> {
    yield* this.#scanIndex(this.#rootPgno, from, to, 0);
  }

  async *#scanTable(pgno: number, from: RowId, to: RowId, depth: number): AsyncGenerator<TableRow> {
    const page = await this.#page(pgno, depth);
    for (let at = firstCell(page, (cell) => this.#rowIdOf(page, cell) >= from); ; at++) {
      const cell = page.cells[at];
      if (!page.isLeaf) yield* this.#scanTable(childOf(page, at), from, to, depth + 1);
      if (cell === undefined) return;
      const rowid = this.#rowIdOf(page, cell);
      if (page.isLeaf) {
        if (rowid > to) return;
        const record = await this.#payload(page, cell);
        yield { rowid, values: decodeRecord(record, this.#format.encoding) };
      } else if (rowid >= to) {
        return;
      }
    }
  }

  async *#scanIndex(
    pgno: number,
    from: readonly SqlValue[],
    to: readonly SqlValue[],
    depth: number,
  ): AsyncGenerator<SqlValue[]> {
    const page = await this.#page(pgno, depth);
    for (let { at } = await this.#firstNotBefore(page, from); ; at++) {
      const cell = page.cells[at];
      if (!page.isLeaf) yield* this.#scanIndex(childOf(page, at), from, to, depth + 1);
      if (cell === undefined) return;
      const row = decodeRecord(await this.#payload(page, cell), this.#format.encoding);
      if (compareToKey(row, to) > 0) return;
      yield row;
    }
  }

  /** The first cell of an index page that is not before the key, and its row; behind the last cell, null. */
  async #firstNotBefore(
    page: TreePage,
    key: readonly SqlValue[],
  ): Promise<{ at: number; row: SqlValue[] | null }> {
    if (page.isTable) throw damagedDatabase("a table where an index must be");
    const { encoding } = this.#format;
    let low = 0;
    let high = page.cells.length;
    let record: Uint8Array | null = null;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const candidate = await this.#payload(page, page.cells[middle] ?? 0);
      if (compareToKey(decodeRecord(candidate, encoding, key.length), key) < 0) {
        low = middle + 1;
      } else {
        high = middle;
        record = candidate;
      }
    }
    return { at: low, row: record === null ? null : decodeRecord(record, encoding) };
  }

  async #page(pgno: number, depth: number): Promise<TreePage> {
    if (depth > treeDepthMax) throw damagedDatabase("a tree has no end");
    if (pgno < 1 || pgno > this.#pages.pageCount) {
      throw damagedDatabase(`page ${pgno} of ${this.#pages.pageCount}`);
    }
    const bytes = await this.#pages.readPage(pgno);
    const reader = new ByteReader(bytes, pgno === 1 ? databaseHeaderSizeBytes : 0);
    const type = reader.u8();
    if (![interiorIndex, interiorTable, leafIndex, leafTable].includes(type)) {
      throw damagedDatabase(`page ${pgno} is of type ${type}`);
    }
    const isLeaf = type === leafIndex || type === leafTable;
    reader.at += 2;
    const cellCount = reader.u16();
    reader.at += 3;
    const lastChild = isLeaf ? 0 : reader.u32();
    const cells = Array.from({ length: cellCount }, () => reader.u16());
    return {
      reader,
      isLeaf,
      isTable: type === leafTable || type === interiorTable,
      cells,
      lastChild,
    };
  }

  #rowIdOf({ reader, isLeaf, isTable }: TreePage, cell: number): RowId {
    if (!isTable) throw damagedDatabase("an index where a table must be");
    reader.at = cell;
    if (isLeaf) reader.varint();
    else reader.at += 4;
    return reader.varint();
  }

  /** The record of a cell, of which a part may be on overflow pages. */
  async #payload({ reader, isLeaf, isTable }: TreePage, cell: number): Promise<Uint8Array> {
    reader.at = isLeaf ? cell : cell + 4;
    const sizeBytes = reader.size(rowSizeBytesMax);
    if (isTable) reader.varint();
    const localSizeBytes = this.#localSize(sizeBytes, isTable);
    const local = reader.take(localSizeBytes);
    if (localSizeBytes === sizeBytes) return local;
    const payload = new Uint8Array(sizeBytes);
    payload.set(local);
    let filled = localSizeBytes;
    let next = reader.u32();
    while (filled < sizeBytes) {
      if (next < 1 || next > this.#pages.pageCount) throw damagedDatabase(`overflow page ${next}`);
      const overflow = new ByteReader(await this.#pages.readPage(next));
      next = overflow.u32();
      const part = overflow.take(Math.min(sizeBytes - filled, this.#format.usableSizeBytes - 4));
      payload.set(part, filled);
      filled += part.length;
    }
    return payload;
  }

  /** How much of a record is in its cell. */
  #localSize(sizeBytes: number, isTable: boolean): number {
    const usable = this.#format.usableSizeBytes;
    const max = isTable ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23;
    if (sizeBytes <= max) return sizeBytes;
    const min = Math.floor(((usable - 12) * 32) / 255) - 23;
    const fitted = min + ((sizeBytes - min) % (usable - 4));
    return fitted <= max ? fitted : min;
  }
}

/** The first cell for which the test, once true, stays true; the cell count when there is none. */
function firstCell({ cells }: TreePage, isReached: (cell: number) => boolean): number {
  let low = 0;
  let high = cells.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isReached(cells[middle] ?? 0)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The child before the cell at a position, or behind the last. */
function childOf({ reader, cells, lastChild }: TreePage, at: number): number {
  const cell = cells[at];
  if (cell === undefined) return lastChild;
  reader.at = cell;
  return reader.u32();
}
