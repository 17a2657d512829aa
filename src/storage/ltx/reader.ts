import { must } from "../../base/assert.ts";
import { LtxDecoder } from "./decode.ts";
import type { CompressedPage } from "./encode.ts";
import { damagedLtx, type LtxHeader, type LtxTrailer } from "./format.ts";

/** A file in pieces of any size, such as the ranges of an object; `[bytes]` is one too. */
export type LtxSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Reads one file from its beginning to its end, in memory that one piece and one page need. */
export class LtxReader {
  readonly header: LtxHeader;
  readonly #decoder: LtxDecoder;
  readonly #pieces: AsyncGenerator<Uint8Array>;

  private constructor(header: LtxHeader, decoder: LtxDecoder, pieces: AsyncGenerator<Uint8Array>) {
    this.header = header;
    this.#decoder = decoder;
    this.#pieces = pieces;
  }

  /** @throws SpriteError storage_failure when there is no sound header */
  static async open(source: LtxSource): Promise<LtxReader> {
    const decoder = new LtxDecoder();
    const pieces = piecesOf(source);
    while (!decoder.readHeader()) {
      const piece = await pieces.next();
      if (piece.done === true) throw damagedLtx("it has no header");
      decoder.push(piece.value);
    }
    return new LtxReader(must(decoder.header, "the header was read"), decoder, pieces);
  }

  /** The next page, null after the last one. It is to be believed once `finish` has returned. */
  async next(): Promise<CompressedPage | null> {
    for (;;) {
      const page = this.#decoder.next();
      if (page !== null || this.#decoder.arePagesComplete) return page;
      const piece = await this.#pieces.next();
      if (piece.done === true) throw damagedLtx("it is cut off");
      this.#decoder.push(piece.value);
    }
  }

  /** Reads what is left and verifies the file. */
  async finish(): Promise<LtxTrailer> {
    while ((await this.next()) !== null);
    for await (const piece of this.#pieces) this.#decoder.push(piece);
    return this.#decoder.finish().trailer;
  }

  /** Lets the source go before its end. */
  async close(): Promise<void> {
    await this.#pieces.return(undefined);
  }
}

async function* piecesOf(source: LtxSource): AsyncGenerator<Uint8Array> {
  yield* source;
}
