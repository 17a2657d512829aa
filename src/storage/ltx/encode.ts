import { addPageChecksum } from "./checksum.ts";
import { Crc64 } from "./crc64.ts";
import {
  blockFlag,
  checksumFlag,
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
} from "./format.ts";
import { encodeHeader, encodeTrailer } from "./header.ts";
import { Lz4BlockCompressor, lz4BlockSizeBytesMax } from "./lz4-block.ts";
import { PageIndexWriter } from "./page-index.ts";

/** A page that may come with its LZ4 block, from another file, which saves compressing it again. */
export interface CompressedPage extends LtxPage {
  block?: Uint8Array | undefined;
}

export interface EncodeOptions {
  /** The database's checksum afterwards: needed in a file that tracks checksums and is no snapshot. */
  postApplyChecksum?: bigint | undefined;
}

/**
 * The whole file in memory.
 * @throws RangeError for a header or a page that the format forbids: a mistake of the caller's
 */
export function encodeLtx(
  header: LtxHeader,
  pages: Iterable<CompressedPage>,
  options: EncodeOptions = {},
): Uint8Array {
  const encoder = new LtxEncoder(header);
  const parts = [encoder.begin()];
  for (const page of pages) parts.push(encoder.page(page));
  parts.push(encoder.finish(options));
  // Not as a Buffer: its `slice` shares memory, which nobody expects of a Uint8Array.
  const { buffer, byteOffset, length } = Buffer.concat(parts);
  return new Uint8Array(buffer, byteOffset, length);
}

/**
 * Writes a file piece by piece: `begin`, then `page` for each in ascending order, then `finish`. The file is what
 * they return, one after the other. Between two calls only the index is kept, some 8 bytes a page.
 */
export class LtxEncoder {
  readonly #header: LtxHeader;
  readonly #crc = new Crc64();
  readonly #compressor = new Lz4BlockCompressor();
  readonly #index = new PageIndexWriter();
  readonly #frame: Uint8Array;
  #offsetBytes = 0;
  #lastPgno = 0;
  #checksum = checksumFlag;

  constructor(header: LtxHeader) {
    this.#header = header;
    const blockSizeBytesMax = lz4BlockSizeBytesMax(header.pageSizeBytes);
    this.#frame = new Uint8Array(frameHeaderSizeBytes + blockSizeBytesMax);
  }

  begin(): Uint8Array {
    const bytes = encodeHeader(this.#header);
    this.#crc.update(bytes);
    this.#offsetBytes = headerSizeBytes;
    return bytes;
  }

  page({ pgno, bytes, block }: CompressedPage): Uint8Array {
    const { pageSizeBytes, tracksChecksums } = this.#header;
    const problem = pageNumberProblem(this.#header, pgno, this.#lastPgno);
    if (problem !== null) throw new RangeError(`cannot encode ${problem}`);
    if (bytes.length !== pageSizeBytes) throw new RangeError(`a page of ${bytes.length} bytes`);
    const blockSizeBytes = this.#fillBlock(bytes, block);
    const view = new DataView(this.#frame.buffer);
    view.setUint32(0, pgno);
    view.setUint16(4, blockFlag);
    view.setUint32(pageHeaderSizeBytes, blockSizeBytes);
    this.#crc.update(this.#frame.subarray(0, frameHeaderSizeBytes)).update(bytes);
    if (tracksChecksums && isSnapshot(this.#header)) {
      this.#checksum = addPageChecksum(this.#checksum, pgno, bytes);
    }
    const lengthBytes = frameHeaderSizeBytes + blockSizeBytes;
    this.#index.append({ pgno, offsetBytes: this.#offsetBytes, lengthBytes });
    this.#offsetBytes += lengthBytes;
    this.#lastPgno = pgno;
    return this.#frame.slice(0, lengthBytes);
  }

  /** End mark, index and trailer. */
  finish(options: EncodeOptions = {}): Uint8Array {
    const header = this.#header;
    if (isSnapshot(header)) {
      const next = pageAfter(this.#lastPgno, header.pageSizeBytes);
      if (next <= header.commitPages) throw new RangeError(`a snapshot without page ${next}`);
    }
    const own = header.tracksChecksums && isSnapshot(header) ? this.#checksum : 0n;
    const postApplyChecksum = options.postApplyChecksum ?? own;
    const problem = postApplyProblem(header, postApplyChecksum);
    if (problem !== null) throw new RangeError(`cannot encode: ${problem}`);
    const endMark = new Uint8Array(pageHeaderSizeBytes);
    const index = this.#index.finish();
    const trailer = encodeTrailer({ postApplyChecksum, fileChecksum: 0n });
    this.#crc
      .update(endMark)
      .update(index)
      .update(trailer.subarray(0, trailerSizeBytes / 2));
    const fileChecksum = this.#crc.digest() | checksumFlag;
    return Buffer.concat([endMark, index, encodeTrailer({ postApplyChecksum, fileChecksum })]);
  }

  #fillBlock(page: Uint8Array, block: Uint8Array | undefined): number {
    const target = this.#frame.subarray(frameHeaderSizeBytes);
    if (block === undefined) return this.#compressor.compress(page, target);
    if (block.length > target.length) throw new RangeError("an LZ4 block larger than need be");
    target.set(block);
    return block.length;
  }
}
