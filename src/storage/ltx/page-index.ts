import {
  damagedLtx,
  frameHeaderSizeBytes,
  headerSizeBytes,
  indexLengthSizeBytes,
  isSnapshot,
  lockPageNumber,
  pageHeaderSizeBytes,
  snapshotPageCount,
  tailSizeBytesMin,
  type LtxHeader,
} from "./format.ts";
import { pageCountMax } from "./limits.ts";

/**
 * Which page is where in an LTX file: for each page, in order, its number, offset and frame length as LEB128
 * varints, then a zero, then the length of all that as u64.
 */

const byteCountMaxOfEntry = 5 + 8 + 8;

/** Where the frames of a file's pages are, found by page number. */
export class PageIndex {
  readonly #pgnos: Uint32Array;
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;

  constructor(pgnos: Uint32Array, offsets: Float64Array, lengths: Uint32Array) {
    this.#pgnos = pgnos;
    this.#offsets = offsets;
    this.#lengths = lengths;
  }

  get count(): number {
    return this.#pgnos.length;
  }

  /** The page at a position from 0 to `count - 1`, in the order of the pages and of the file. */
  at(position: number): PagePlace {
    return {
      pgno: this.#pgnos[position] ?? 0,
      offsetBytes: this.#offsets[position] ?? 0,
      lengthBytes: this.#lengths[position] ?? 0,
    };
  }

  /** Where the page is, or null when the file does not have it. */
  find(pgno: number): PagePlace | null {
    const position = this.positionOf(pgno);
    return this.#pgnos[position] === pgno ? this.at(position) : null;
  }

  /** The position of the page, or of the first one behind where it would be. */
  positionOf(pgno: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#pgnos[middle] ?? 0) < pgno) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Compares what a tail says with the file's header. The file's checksum is only checked by who reads all of it.
   * @throws SpriteError storage_failure
   */
  verify(header: LtxHeader): void {
    const last = this.#pgnos.at(-1) ?? 0;
    if (last > header.commitPages) throw damagedLtx(`page ${last} of ${header.commitPages}`);
    if (this.find(lockPageNumber(header.pageSizeBytes)) !== null) throw damagedLtx("lock page");
    if (isSnapshot(header) && this.count !== snapshotPageCount(header)) {
      throw damagedLtx(`a snapshot with ${this.count} of ${snapshotPageCount(header)} pages`);
    }
  }
}

export interface PagePlace {
  pgno: number;
  /** Of the page's frame, from the file's start. */
  offsetBytes: number;
  lengthBytes: number;
}

/** Collects the index while pages are written, or while they are read, to compare. */
export class PageIndexWriter {
  #bytes = new Uint8Array(1024);
  #sizeBytes = 0;

  append(place: PagePlace): void {
    if (this.#sizeBytes + byteCountMaxOfEntry + 1 + indexLengthSizeBytes > this.#bytes.length) {
      const grown = new Uint8Array(this.#bytes.length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#append(place.pgno);
    this.#append(place.offsetBytes);
    this.#append(place.lengthBytes);
  }

  /** The index with its end mark and length. */
  finish(): Uint8Array {
    const sizeBytes = this.#sizeBytes + 1;
    const bytes = this.#bytes.subarray(0, sizeBytes + indexLengthSizeBytes);
    bytes.fill(0, this.#sizeBytes);
    new DataView(bytes.buffer).setBigUint64(sizeBytes, BigInt(sizeBytes));
    return bytes;
  }

  #append(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.#bytes[this.#sizeBytes++] = (rest % 0x80) | 0x80;
    }
    this.#bytes[this.#sizeBytes++] = rest;
  }
}

export type ParsedTail =
  | { kind: "whole"; index: PageIndex }
  /** The index is longer than the tail: this many bytes from the file's end are needed. */
  | { kind: "short"; tailSizeBytes: number };

/**
 * Reads the page index from the last bytes of a file of `sizeBytes`. It has to account for every byte between header
 * and index, so that an index that lies about a frame's place is found out here.
 * @throws SpriteError storage_failure
 */
export function parseTail(tail: Uint8Array, sizeBytes: number): ParsedTail {
  if (sizeBytes < headerSizeBytes + pageHeaderSizeBytes + 1 + tailSizeBytesMin) {
    throw damagedLtx(`it has only ${sizeBytes} bytes`);
  }
  if (tail.length > sizeBytes) throw damagedLtx("its end is longer than all of it");
  if (tail.length < tailSizeBytesMin) return { kind: "short", tailSizeBytes: tailSizeBytesMin };
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  const indexEnd = tail.length - tailSizeBytesMin;
  const indexSizeBytes = Number(view.getBigUint64(indexEnd));
  const pagesEndBytes = sizeBytes - tailSizeBytesMin - indexSizeBytes - pageHeaderSizeBytes;
  if (indexSizeBytes < 1 || pagesEndBytes < headerSizeBytes) {
    throw damagedLtx(`a page index of ${indexSizeBytes} bytes`);
  }
  if (indexSizeBytes > indexEnd) {
    return { kind: "short", tailSizeBytes: indexSizeBytes + tailSizeBytesMin };
  }
  const bytes = tail.subarray(indexEnd - indexSizeBytes, indexEnd);
  return { kind: "whole", index: parseIndex(bytes, pagesEndBytes) };
}

function parseIndex(bytes: Uint8Array, pagesEndBytes: number): PageIndex {
  const count = countEntries(bytes);
  const pgnos = new Uint32Array(count);
  const offsets = new Float64Array(count);
  const lengths = new Uint32Array(count);
  const reader = new VarintReader(bytes);
  let previousPgno = 0;
  let offset = headerSizeBytes;
  for (let position = 0; position < count; position++) {
    const pgno = reader.next();
    if (pgno <= previousPgno || pgno > pageCountMax) throw damagedLtx(`index: page ${pgno}`);
    if (reader.next() !== offset) throw damagedLtx(`index: page ${pgno} is not where it must be`);
    const length = reader.next();
    if (length <= frameHeaderSizeBytes || length > pagesEndBytes) {
      throw damagedLtx(`index: page ${pgno} has ${length} bytes`);
    }
    pgnos[position] = pgno;
    offsets[position] = offset;
    lengths[position] = length;
    previousPgno = pgno;
    offset += length;
  }
  if (reader.next() !== 0) throw damagedLtx("index: it has no end");
  if (offset !== pagesEndBytes) throw damagedLtx("index: it does not cover the pages");
  return new PageIndex(pgnos, offsets, lengths);
}

/** Three varints an entry, and each ends in the one byte of it that is below 128. */
function countEntries(bytes: Uint8Array): number {
  let ends = 0;
  for (const byte of bytes) if (byte < 0x80) ends++;
  if (ends % 3 !== 1) throw damagedLtx("index: it is not made of entries");
  return (ends - 1) / 3;
}

class VarintReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  next(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw damagedLtx("index: it is cut off");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw damagedLtx("index: a number is too large");
  }
}
