/**
 * A map as its transactions make it, page by page, and its small tables read from that: SQLite would have to be opened
 * for each transaction that is looked at, which costs more than the world in which it happens.
 */
import { must } from "../../../../base/assert.ts";
import type { SqlValue } from "../../../database.ts";
import { decodeLtx } from "../../../ltx/decode.ts";
import { ByteReader, decodeRecord } from "../../../remote-database/record.ts";

const fileHeaderSizeBytes = 100;
const interiorTable = 5;
const leafTable = 13;

export class MapImage {
  #pages: Uint8Array[] = [];
  #pageSizeBytes = 0;

  /** Makes it what the transaction leaves. */
  apply(transaction: Uint8Array): void {
    const { header, pages } = decodeLtx(transaction);
    this.#pageSizeBytes = header.pageSizeBytes;
    for (const { pgno, bytes } of pages()) this.#pages[pgno - 1] = Uint8Array.from(bytes);
    this.#pages.length = header.commitPages;
  }

  /** The whole file. */
  bytes(): Buffer {
    const zeros = new Uint8Array(this.#pageSizeBytes);
    return Buffer.concat(Array.from(this.#pages, (page) => page ?? zeros));
  }

  /** Rows of a table with row ids, as their columns; the one that is the row id is filled in by `rowid`. */
  rows(table: string): { rowid: number; values: SqlValue[] }[] {
    const schema = this.#rowsBelow(1);
    const found = schema.find(({ values: [type, name] }) => type === "table" && name === table);
    return this.#rowsBelow(Number(must(found, `the map has ${table}`).values[3]));
  }

  #rowsBelow(pgno: number): { rowid: number; values: SqlValue[] }[] {
    const page = must(this.#pages[pgno - 1], "the map has the page");
    const start = pgno === 1 ? fileHeaderSizeBytes : 0;
    const type = page[start];
    if (type !== leafTable && type !== interiorTable) throw new Error(`page ${pgno} is no table's`);
    const reader = new ByteReader(page, start + 3);
    const count = reader.u16();
    reader.at = start + 8;
    const lastChild = type === interiorTable ? reader.u32() : 0;
    const places = Array.from({ length: count }, () => reader.u16());
    if (type === leafTable) return places.map((at) => this.#row(page, at));
    const children = places.map((at) => new ByteReader(page, at).u32());
    return [...children, lastChild].flatMap((child) => this.#rowsBelow(child));
  }

  #row(page: Uint8Array, at: number): { rowid: number; values: SqlValue[] } {
    const reader = new ByteReader(page, at);
    // Rows that go on in another page are not among those that are asked for.
    const payloadSizeBytes = reader.size(this.#pageSizeBytes - 35);
    const rowid = Number(reader.varint());
    return { rowid, values: decodeRecord(reader.take(payloadSizeBytes), "utf8") };
  }
}
