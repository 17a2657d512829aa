import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addPageChecksum } from "./checksum.ts";
import { Crc64 } from "./crc64.ts";
import { decodeLtx } from "./decode.ts";
import { checksumFlag, ltxHeader, type LtxHeader } from "./format.ts";
import { encodeHeader, encodeTrailer } from "./header.ts";
import { PageIndexWriter, parseTail, type PagePlace } from "./page-index.ts";

/** Files whose checksum is right and whose content is not: what only a writer with a fault would make. */

interface Frame {
  pgno: number;
  /** The literals of the block; a sound page has 512. */
  literals: Uint8Array;
}

interface Parts {
  header: Partial<LtxHeader>;
  frames: Frame[];
  /** Changes an entry of the index. */
  misplace?: (place: PagePlace) => PagePlace;
  postApplyChecksum?: bigint;
}

const page = (pgno: number): Frame => ({ pgno, literals: new Uint8Array(512).fill(pgno) });

/** A block of literals only: token, length in excess of 15 by bytes of 255, the literals. */
function blockOf(literals: Uint8Array): Uint8Array {
  const rest = literals.length - 15;
  const lengths = [...Array.from({ length: Math.floor(rest / 255) }, () => 255), rest % 255];
  return Uint8Array.from([0xf0, ...lengths, ...literals]);
}

function forge({ header, frames, misplace, postApplyChecksum = 0n }: Parts): Uint8Array {
  const fields = { pageSizeBytes: 512, commitPages: 3, minTxid: 2, maxTxid: 2, timestampMs: 1 };
  const head = encodeHeader(ltxHeader({ ...fields, ...header }));
  const crc = new Crc64().update(head);
  const parts: Uint8Array[] = [head];
  const index = new PageIndexWriter();
  let offsetBytes = head.length;
  for (const { pgno, literals } of frames) {
    const block = blockOf(literals);
    const frameHeader = Buffer.alloc(10);
    frameHeader.writeUInt32BE(pgno, 0);
    frameHeader.writeUInt16BE(1, 4);
    frameHeader.writeUInt32BE(block.length, 6);
    const inflated = new Uint8Array(512);
    inflated.set(literals.subarray(0, 512));
    crc.update(frameHeader).update(inflated);
    const place = { pgno, offsetBytes, lengthBytes: 10 + block.length };
    index.append(misplace?.(place) ?? place);
    parts.push(frameHeader, block);
    offsetBytes += place.lengthBytes;
  }
  const end = Buffer.concat([new Uint8Array(6), index.finish()]);
  const trailer = { postApplyChecksum, fileChecksum: 0n };
  crc.update(end).update(encodeTrailer(trailer).subarray(0, 8));
  const sealed = encodeTrailer({ ...trailer, fileChecksum: crc.digest() | checksumFlag });
  return Uint8Array.from(Buffer.concat([...parts, end, sealed]));
}

const refused = (parts: Parts, message: RegExp): void => {
  assert.throws(() => decodeLtx(forge(parts)), { code: "storage_failure", message });
};

describe("LTX files with a right checksum", () => {
  it("are believed when the rest is right", () => {
    const snapshot = { minTxid: 1, commitPages: 2, tracksChecksums: true };
    const frames = [page(1), page(2)];
    const sum = frames.reduce(
      (at, { pgno, literals }) => addPageChecksum(at, pgno, literals),
      checksumFlag,
    );
    const file = forge({ header: snapshot, frames, postApplyChecksum: sum });
    assert.equal([...decodeLtx(file).pages()].length, 2);
    refused({ header: snapshot, frames, postApplyChecksum: sum ^ 1n }, /database's checksum/);
    refused({ header: snapshot, frames }, /no post-apply checksum/);
    refused({ header: {}, frames, postApplyChecksum: sum }, /where there is none/);
  });

  it("are refused when pages are missing or in disorder", () => {
    refused({ header: { minTxid: 1 }, frames: [page(1), page(2)] }, /without page 3/);
    refused({ header: { minTxid: 1 }, frames: [page(1), page(3)] }, /page 3 after 1 in a snapshot/);
    refused({ header: {}, frames: [page(2), page(1)] }, /page 1 after 2/);
    refused({ header: {}, frames: [page(4)] }, /page 4 of 3/);
    const large = { pageSizeBytes: 65_536, commitPages: 20_000 };
    refused({ header: large, frames: [page(16_385)] }, /lock page/);
  });

  it("are refused when a page has another size", () => {
    refused({ header: {}, frames: [{ pgno: 1, literals: new Uint8Array(511) }] }, /a page of 511/);
    refused(
      { header: {}, frames: [{ pgno: 1, literals: new Uint8Array(513) }] },
      /more than a page/,
    );
  });

  it("are refused when the index is not the one of the pages", () => {
    const frames = [page(1), page(2)];
    const misplaced = (misplace: (place: PagePlace) => PagePlace, message: RegExp): void => {
      const file = forge({ header: {}, frames, misplace });
      assert.throws(() => decodeLtx(file), {
        code: "storage_failure",
        message: /index is not the one/,
      });
      // The file's end alone shows it too, but for a page number that could be.
      assert.throws(() => parseTail(file, file.length), { code: "storage_failure", message });
    };
    misplaced(
      (place) => ({ ...place, offsetBytes: place.offsetBytes + 1 }),
      /not where it must be/,
    );
    misplaced(
      (place) => ({ ...place, lengthBytes: place.lengthBytes + 1 }),
      /not where it must be/,
    );
    misplaced(
      (place) => (place.pgno === 2 ? { ...place, lengthBytes: place.lengthBytes - 1 } : place),
      /does not cover the pages/,
    );
    misplaced((place) => ({ ...place, pgno: 3 - place.pgno }), /index: page 1/);
    const renumbered = forge({
      header: {},
      frames: [page(1), page(2)],
      misplace: (place) => ({ ...place, pgno: place.pgno + 1 }),
    });
    assert.throws(() => decodeLtx(renumbered), /index is not the one/);
  });
});
