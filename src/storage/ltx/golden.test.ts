import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pageChecksum } from "./checksum.ts";
import { decodeLtx, LtxDecoder } from "./decode.ts";
import { encodeLtx, type CompressedPage } from "./encode.ts";
import { ltxHeader } from "./format.ts";
import {
  deltaVector,
  incompressibleVector,
  legacyVector,
  snapshotWithChecksums,
} from "./testing/golden-vectors.ts";

const page = (value: number): Uint8Array => new Uint8Array(512).fill(value);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** All pages with their blocks as they are in the file. */
function compressedPages(file: Uint8Array): CompressedPage[] {
  const decoder = new LtxDecoder();
  decoder.push(file);
  const pages: CompressedPage[] = [];
  for (let next = decoder.next(); next !== null; next = decoder.next()) pages.push(next);
  decoder.finish();
  return pages;
}

describe("LTX files of the Go library", () => {
  it("A: a snapshot with checksums", () => {
    const { header, trailer, index, pages } = decodeLtx(snapshotWithChecksums);
    const expected = ltxHeader({
      pageSizeBytes: 512,
      commitPages: 1,
      minTxid: 1,
      maxTxid: 1,
      timestampMs: 1000,
      tracksChecksums: true,
    });
    assert.equal(snapshotWithChecksums.length, 168);
    assert.deepEqual(header, expected);
    assert.equal(trailer.postApplyChecksum, 0xeb1a_9992_3104_4dddn);
    assert.equal(trailer.fileChecksum, 0xbca7_facc_3121_44c6n);
    assert.deepEqual([...pages()], [{ pgno: 1, bytes: page(0x31) }]);
    assert.deepEqual(index.at(0), { pgno: 1, offsetBytes: 100, lengthBytes: 34 });
    assert.equal(pageChecksum(1, page(0x31)), 0xeb1a_9992_3104_4dddn);
    const again = encodeLtx(expected, compressedPages(snapshotWithChecksums));
    assert.equal(hex(again), hex(snapshotWithChecksums));
  });

  it("B: two of three pages, without checksums", () => {
    const { header, trailer, pages, index } = decodeLtx(deltaVector);
    assert.equal(deltaVector.length, 206);
    assert.deepEqual([header.minTxid, header.commitPages, header.tracksChecksums], [2, 3, false]);
    assert.deepEqual(trailer, {
      postApplyChecksum: 0n,
      fileChecksum: 0xf18f_25e3_1e9d_6fb0n,
    });
    assert.deepEqual(
      [...pages()],
      [
        { pgno: 1, bytes: page(0x31) },
        { pgno: 3, bytes: page(0x83) },
      ],
    );
    assert.deepEqual(index.find(3), { pgno: 3, offsetBytes: 134, lengthBytes: 34 });
    assert.equal(index.find(2), null);
    assert.equal(hex(encodeLtx(header, compressedPages(deltaVector))), hex(deltaVector));
  });

  it("C: a page that does not compress", () => {
    const [only] = compressedPages(incompressibleVector);
    assert.equal(only?.block?.length, 515);
    // Go's documentation of math/rand fixes the sequence of seed 1, which begins so.
    assert.equal(hex(only.bytes.subarray(0, 8)), "52fdfc072182654f");
    const { header } = decodeLtx(incompressibleVector);
    assert.equal(hex(encodeLtx(header, [only])), hex(incompressibleVector));
    // Literals alone have only one form, so here our own encoder agrees too.
    const own = encodeLtx(header, [{ pgno: 1, bytes: only.bytes }]);
    assert.equal(hex(own), hex(incompressibleVector));
  });

  it("legacy: pages as LZ4 frames", () => {
    const { trailer, pages, index } = decodeLtx(legacyVector);
    const [first, second] = [...pages()];
    assert.deepEqual(first, { pgno: 1, bytes: page(0x31) });
    assert.equal(second?.pgno, 3);
    assert.equal(hex(second.bytes.subarray(0, 4)), "c67e816b");
    assert.equal(hex(second.bytes.subarray(-4)), "b008ed79");
    assert.deepEqual(index.at(0), { pgno: 1, offsetBytes: 100, lengthBytes: 49 });
    assert.equal(trailer.fileChecksum, 0xa8e7_0807_4101_b663n);
    const blocks = compressedPages(legacyVector).map(({ block }) => block);
    assert.deepEqual(blocks, [undefined, undefined]);
  });

  it("our own encoder's blocks say the same in other bytes", () => {
    const { header } = decodeLtx(deltaVector);
    const own = encodeLtx(header, decodeLtx(deltaVector).pages());
    assert.deepEqual([...decodeLtx(own).pages()], [...decodeLtx(deltaVector).pages()]);
    // By hand: 1 literal, then a match of distance 1 up to 5 bytes before the end (506 = 4 + 15 + 255 + 232),
    // then 5 literals: 1f 31 0100 ff e8, 50 3131313131.
    assert.equal(
      hex(own.subarray(100, 122)),
      "000000010001" + "0000000c" + "1f310100ffe8" + "503131313131",
    );
  });
});
