import { addPageChecksum } from "./checksum.ts";
import { Crc64 } from "./crc64.ts";
import {
  blockFlag,
  checksumFlag,
  damagedLtx,
  frameHeaderSizeBytes,
  headerSizeBytes,
  isSnapshot,
  pageAfter,
  pageHeaderSizeBytes,
  pageNumberProblem,
  postApplyProblem,
  trailerSizeBytes,
  type LtxHeader,
  type LtxPage,
  type LtxTrailer,
} from "./format.ts";
import { readHeader, readTrailer } from "./header.ts";
import { inflateLz4Block, lz4BlockSizeBytesMax } from "./lz4-block.ts";
import { inflateLz4Frame, lz4FrameLength } from "./lz4-frame.ts";
import { PageIndexWriter, parseTail, type PageIndex } from "./page-index.ts";
import type { CompressedPage } from "./encode.ts";

export interface DecodedLtx {
  header: LtxHeader;
  trailer: LtxTrailer;
  index: PageIndex;
  /** The pages in ascending order, each in memory of its own. */
  pages(): Iterable<LtxPage>;
}

/**
 * Verifies a whole file: header, page order, a snapshot's completeness, index, checksums. What it returns is what was
 * written.
 * @throws SpriteError storage_failure when anything of it is damaged
 */
export function decodeLtx(bytes: Uint8Array): DecodedLtx {
  const decoder = new LtxDecoder();
  decoder.push(bytes);
  while (decoder.next() !== null);
  const { header, trailer } = decoder.finish();
  const tail = parseTail(bytes, bytes.length);
  if (tail.kind !== "whole") throw damagedLtx("it is shorter than its index");
  const { index } = tail;
  const pageSizeBytes = header.pageSizeBytes;
  return {
    header,
    trailer,
    index,
    *pages() {
      for (let position = 0; position < index.count; position++) {
        const { pgno, offsetBytes, lengthBytes } = index.at(position);
        const frame = bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
        yield { pgno, bytes: decodeFrame(frame, { pgno, pageSizeBytes }) };
      }
    },
  };
}

/**
 * The page in a frame that was read by its place in the index.
 * @throws SpriteError storage_failure when the frame is another page's, or does not inflate to exactly one page
 */
export function decodeFrame(
  frame: Uint8Array,
  expected: { pgno: number; pageSizeBytes: number },
): Uint8Array {
  const header = readPageHeader(frame, 0);
  if (header === null) throw damagedLtx("a page without a header");
  if (header.pgno !== expected.pgno) {
    throw damagedLtx(`page ${header.pgno} in place of ${expected.pgno}`);
  }
  const length = frameLength(frame, header.hasBlock, expected.pageSizeBytes);
  if (length !== frame.length) throw damagedLtx(`page ${header.pgno} has another length`);
  return inflatePage(frame, header.hasBlock, expected.pageSizeBytes);
}

/**
 * Decodes a file as its bytes arrive: `push` some, take pages with `next` until it is null, and so on, then `finish`.
 * The pages are only to be believed once `finish` has returned.
 */
export class LtxDecoder {
  readonly #crc = new Crc64();
  readonly #index = new PageIndexWriter();
  #header: LtxHeader | null = null;
  #arrived: Uint8Array = new Uint8Array(0);
  #offsetBytes = 0;
  #lastPgno = 0;
  #checksum = checksumFlag;
  #arePagesComplete = false;

  /** The header, once `readHeader` or `next` was called with enough bytes. */
  get header(): LtxHeader | null {
    return this.#header;
  }

  /** True once `next` has come to the end of the pages. */
  get arePagesComplete(): boolean {
    return this.#arePagesComplete;
  }

  push(bytes: Uint8Array): void {
    this.#arrived = this.#arrived.length === 0 ? bytes : Buffer.concat([this.#arrived, bytes]);
  }

  /** Reads the header when that has not been done; false when more bytes are needed. */
  readHeader(): boolean {
    if (this.#header !== null) return true;
    if (this.#arrived.length < headerSizeBytes) return false;
    const bytes = this.#take(headerSizeBytes);
    this.#crc.update(bytes);
    this.#header = readHeader(bytes);
    return true;
  }

  /** The next page, or null when more bytes are needed or all pages were given. */
  next(): CompressedPage | null {
    if (!this.readHeader() || this.#header === null || this.#arePagesComplete) return null;
    const header = this.#header;
    const bytes = this.#arrived;
    const pageHeader = readPageHeader(bytes, this.#lastPgno);
    if (pageHeader === null) return null;
    const { pgno, hasBlock } = pageHeader;
    if (pgno === 0) {
      this.#crc.update(this.#take(pageHeaderSizeBytes));
      this.#arePagesComplete = true;
      return null;
    }
    const problem = pageNumberProblem(header, pgno, this.#lastPgno);
    if (problem !== null) throw damagedLtx(problem);
    const length = frameLength(bytes, hasBlock, header.pageSizeBytes);
    if (length === null || bytes.length < length) return null;
    const offsetBytes = this.#offsetBytes;
    const frame = this.#take(length);
    const page = inflatePage(frame, hasBlock, header.pageSizeBytes);
    this.#crc.update(frame.subarray(0, hasBlock ? frameHeaderSizeBytes : pageHeaderSizeBytes));
    this.#crc.update(page);
    if (header.tracksChecksums && isSnapshot(header)) {
      this.#checksum = addPageChecksum(this.#checksum, pgno, page);
    }
    this.#index.append({ pgno, offsetBytes, lengthBytes: length });
    this.#lastPgno = pgno;
    return {
      pgno,
      bytes: page,
      block: hasBlock ? frame.subarray(frameHeaderSizeBytes) : undefined,
    };
  }

  /**
   * Checks what follows the pages: the index, which has to be exactly the one of the pages that were read, and the
   * checksums. Call it when all bytes were pushed and `next` has returned null.
   * @throws SpriteError storage_failure
   */
  finish(): { header: LtxHeader; trailer: LtxTrailer } {
    const header = this.#header;
    if (header === null || !this.#arePagesComplete) throw damagedLtx("it is cut off");
    if (isSnapshot(header)) {
      const next = pageAfter(this.#lastPgno, header.pageSizeBytes);
      if (next <= header.commitPages) throw damagedLtx(`a snapshot without page ${next}`);
    }
    const index = this.#index.finish();
    if (this.#arrived.length !== index.length + trailerSizeBytes) {
      throw damagedLtx("its end does not have the length that its pages need");
    }
    if (!Buffer.from(index).equals(this.#take(index.length))) {
      throw damagedLtx("its index is not the one of its pages");
    }
    const trailer = readTrailer(this.#arrived);
    this.#crc.update(index).update(this.#arrived.subarray(0, trailerSizeBytes / 2));
    if (trailer.fileChecksum !== (this.#crc.digest() | checksumFlag)) {
      throw damagedLtx("the checksum does not match");
    }
    const problem = postApplyProblem(header, trailer.postApplyChecksum);
    if (problem !== null) throw damagedLtx(problem);
    const isChecked = header.tracksChecksums && isSnapshot(header);
    if (isChecked && trailer.postApplyChecksum !== this.#checksum) {
      throw damagedLtx("the database's checksum does not match");
    }
    return { header, trailer };
  }

  #take(sizeBytes: number): Uint8Array {
    const taken = this.#arrived.subarray(0, sizeBytes);
    this.#arrived = this.#arrived.subarray(sizeBytes);
    this.#offsetBytes += sizeBytes;
    return taken;
  }
}

/** The page header at the beginning of `bytes`; page number 0 ends the pages. Null when it is not all there. */
function readPageHeader(
  bytes: Uint8Array,
  previousPgno: number,
): { pgno: number; hasBlock: boolean } | null {
  if (bytes.length < pageHeaderSizeBytes) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, pageHeaderSizeBytes);
  const pgno = view.getUint32(0);
  const flags = view.getUint16(4);
  if ((flags & ~blockFlag) !== 0 || (pgno === 0 && flags !== 0)) {
    throw damagedLtx(`a page with flags ${flags} after page ${previousPgno}`);
  }
  return { pgno, hasBlock: flags === blockFlag };
}

/** How long the frame at the beginning of `bytes` is, or null when more bytes are needed to tell. */
function frameLength(bytes: Uint8Array, hasBlock: boolean, pageSizeBytes: number): number | null {
  if (!hasBlock) {
    const length = lz4FrameLength(bytes.subarray(pageHeaderSizeBytes));
    return length === null ? null : pageHeaderSizeBytes + length;
  }
  if (bytes.length < frameHeaderSizeBytes) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, frameHeaderSizeBytes);
  const blockSizeBytes = view.getUint32(pageHeaderSizeBytes);
  if (blockSizeBytes === 0 || blockSizeBytes > lz4BlockSizeBytesMax(pageSizeBytes)) {
    throw damagedLtx(`an LZ4 block of ${blockSizeBytes} bytes`);
  }
  return frameHeaderSizeBytes + blockSizeBytes;
}

function inflatePage(frame: Uint8Array, hasBlock: boolean, pageSizeBytes: number): Uint8Array {
  const page = new Uint8Array(pageSizeBytes);
  const sizeBytes = hasBlock
    ? inflateLz4Block(frame.subarray(frameHeaderSizeBytes), page)
    : inflateLz4Frame(frame.subarray(pageHeaderSizeBytes), page);
  if (sizeBytes !== pageSizeBytes) throw damagedLtx(`a page of ${sizeBytes} bytes`);
  return page;
}
