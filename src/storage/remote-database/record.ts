import type { SqlValue } from "../database.ts";
import { damagedDatabase } from "./pages.ts";

/**
 * Rows as SQLite stores them: a header of varints (its own length, then a serial type for each column), then the
 * columns' bytes. After sqlite.org/fileformat2.html, section 2.1.
 */

export type TextEncoding = "utf8" | "utf16le" | "utf16be";

/** Bytes that are read from the front to the back, never beyond their end. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  u8(): number {
    return this.#view.getUint8(this.#step(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#step(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#step(4));
  }

  float(): number {
    return this.#view.getFloat64(this.#step(8));
  }

  /** Two's complement of 1 to 8 bytes; a bigint when it is beyond what a number holds exactly. */
  signed(sizeBytes: number): number | bigint {
    const at = this.#step(sizeBytes);
    const first = this.#view.getInt8(at);
    if (sizeBytes > 4) {
      let value = BigInt(first);
      for (let byte = 1; byte < sizeBytes; byte++) {
        value = (value << 8n) | BigInt(this.#view.getUint8(at + byte));
      }
      return exact(value);
    }
    let value = first;
    for (let byte = 1; byte < sizeBytes; byte++) {
      value = (value << 8) | this.#view.getUint8(at + byte);
    }
    return value;
  }

  /** SQLite's varint: 1 to 9 bytes, big-endian, seven bits each and all eight of the ninth; 64 bits, signed. */
  varint(): number | bigint {
    let small = 0;
    for (let count = 0; count < 4; count++) {
      const byte = this.u8();
      small = (small << 7) | (byte & 0x7f);
      if (byte < 0x80) return small;
    }
    let value = BigInt(small);
    for (let count = 4; count < 8; count++) {
      const byte = this.u8();
      value = (value << 7n) | BigInt(byte & 0x7f);
      if (byte < 0x80) return exact(value);
    }
    return exact(BigInt.asIntN(64, (value << 8n) | BigInt(this.u8())));
  }

  /** A varint that counts something. */
  size(max: number): number {
    const value = this.varint();
    if (typeof value === "bigint" || value < 0 || value > max) {
      throw damagedDatabase(`a length of ${value}`);
    }
    return value;
  }

  take(sizeBytes: number): Uint8Array {
    const at = this.#step(sizeBytes);
    return this.bytes.subarray(at, at + sizeBytes);
  }

  #step(sizeBytes: number): number {
    const at = this.at;
    if (at < 0 || at + sizeBytes > this.bytes.length)
      throw damagedDatabase("a value ends too early");
    this.at = at + sizeBytes;
    return at;
  }
}

/** The record's columns, or only the first `countMax` of them. Blobs have memory of their own. */
export function decodeRecord(
  record: Uint8Array,
  encoding: TextEncoding,
  countMax = Number.POSITIVE_INFINITY,
): SqlValue[] {
  const header = new ByteReader(record);
  const headerSizeBytes = header.size(record.length);
  const body = new ByteReader(record, headerSizeBytes);
  const values: SqlValue[] = [];
  while (header.at < headerSizeBytes && values.length < countMax) {
    values.push(decodeValue(header.size(Number.MAX_SAFE_INTEGER), body, encoding));
  }
  if (header.at > headerSizeBytes) throw damagedDatabase("a row's header has another length");
  return values;
}

function decodeValue(serialType: number, body: ByteReader, encoding: TextEncoding): SqlValue {
  if (serialType >= 12) {
    const bytes = body.take(Math.floor((serialType - 12) / 2));
    return serialType % 2 === 0 ? Uint8Array.from(bytes) : decodeText(bytes, encoding);
  }
  switch (serialType) {
    case 0:
      return null;
    case 5:
      return body.signed(6);
    case 6:
      return body.signed(8);
    case 7:
      return body.float();
    case 8:
      return 0;
    case 9:
      return 1;
    case 10:
    case 11:
      throw damagedDatabase(`a column of the reserved type ${serialType}`);
    default:
      return body.signed(serialType);
  }
}

function decodeText(bytes: Uint8Array, encoding: TextEncoding): string {
  const buffer = Buffer.from(bytes);
  if (encoding === "utf16be") buffer.swap16();
  return buffer.toString(encoding === "utf8" ? "utf8" : "utf16le");
}

/**
 * Compares the first columns of a row with a key, in the order of an ascending index with the collation BINARY: null,
 * numbers, text, blobs. 0 when all columns of the key are equal.
 */
export function compareToKey(row: readonly SqlValue[], key: readonly SqlValue[]): number {
  for (const [column, wanted] of key.entries()) {
    const order = compareValues(row[column] ?? null, wanted);
    if (order !== 0) return order;
  }
  return 0;
}

function compareValues(a: SqlValue, b: SqlValue): number {
  const rankOfA = rank(a);
  const rankOfB = rank(b);
  if (rankOfA !== rankOfB) return rankOfA - rankOfB;
  if (typeof a === "string" && typeof b === "string") {
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b);
  if (a === null || b === null) return 0;
  return a < b ? -1 : a > b ? 1 : 0;
}

function rank(value: SqlValue): number {
  if (value === null) return 0;
  if (typeof value === "string") return 2;
  return value instanceof Uint8Array ? 3 : 1;
}

function exact(value: bigint): number | bigint {
  const isSafe = value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
  return isSafe ? Number(value) : value;
}
