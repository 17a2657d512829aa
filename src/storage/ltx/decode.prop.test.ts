import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "node:test";
import { decodeLtx, LtxDecoder } from "./decode.ts";
import { encodeLtx } from "./encode.ts";
import { checksumFlag, ltxHeader, type LtxHeader, type LtxPage } from "./format.ts";
import { parseTail } from "./page-index.ts";
import { deltaVector, legacyVector, snapshotWithChecksums } from "./testing/golden-vectors.ts";

interface Content {
  header: LtxHeader;
  pages: LtxPage[];
}

/** Pages that compress well, badly, and not at all. */
function pageOf(pageSizeBytes: number, seed: number): Uint8Array {
  const page = new Uint8Array(pageSizeBytes);
  let state = seed;
  for (let at = 0; at < pageSizeBytes; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    page[at] = seed % 3 === 0 ? state >>> 24 : seed % 3 === 1 ? at % 7 : state >>> 30;
  }
  return page;
}

const contents: fc.Arbitrary<Content> = fc
  .record({
    pageSizeBytes: fc.constantFrom(512, 1_024, 4_096, 65_536),
    isSnapshot: fc.boolean(),
    tracksChecksums: fc.boolean(),
    count: fc.integer({ min: 1, max: 12 }),
    seed: fc.nat(1_000),
    maxTxid: fc.maxSafeNat(),
    nodeId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  })
  .map(({ pageSizeBytes, isSnapshot, tracksChecksums, count, seed, maxTxid, nodeId }) => {
    const stride = isSnapshot ? 1 : 1 + (seed % 300);
    const pages = Array.from({ length: count }, (_, at) => ({
      pgno: 1 + at * stride,
      bytes: pageOf(pageSizeBytes, seed + at),
    }));
    const header = ltxHeader({
      pageSizeBytes,
      commitPages: pages.at(-1)?.pgno ?? 0,
      minTxid: isSnapshot ? 1 : Math.max(2, maxTxid - 3),
      maxTxid: Math.max(2, maxTxid),
      timestampMs: 1_700_000_000_000 + seed,
      tracksChecksums,
      preApplyChecksum: tracksChecksums && !isSnapshot ? checksumFlag | BigInt(seed) : 0n,
      walOffset: 32,
      walSize: 4_120,
      walSalt1: 0xffff_ffff,
      nodeId,
    });
    return { header, pages };
  });

const encode = ({ header, pages }: Content): Uint8Array => {
  const isDelta = header.tracksChecksums && header.minTxid !== 1;
  return encodeLtx(header, pages, isDelta ? { postApplyChecksum: checksumFlag | 5n } : {});
};

/** What a damaged file may do: be refused, or, when no byte of content is touched, say the same. */
function assertHarmless(damaged: Uint8Array, pages: readonly LtxPage[]): void {
  let decoded: LtxPage[];
  try {
    decoded = [...decodeLtx(damaged).pages()];
  } catch (error) {
    assert.equal((error as { code?: string }).code, "storage_failure", String(error));
    return;
  }
  assert.deepEqual(decoded, pages);
}

describe("LTX files", () => {
  it("give back what was written, in whatever pieces they arrive", () => {
    fc.assert(
      fc.property(contents, fc.integer({ min: 40, max: 3_000 }), (content, pieceSize) => {
        const file = encode(content);
        const whole = decodeLtx(file);
        assert.deepEqual(whole.header, content.header);
        assert.deepEqual([...whole.pages()], content.pages);
        const decoder = new LtxDecoder();
        const pages: LtxPage[] = [];
        for (let at = 0; at < file.length; at += pieceSize) {
          decoder.push(file.subarray(at, at + pieceSize));
          for (let page = decoder.next(); page !== null; page = decoder.next()) {
            pages.push({ pgno: page.pgno, bytes: page.bytes });
          }
        }
        assert.deepEqual(pages, content.pages);
        assert.deepEqual(decoder.finish(), { header: whole.header, trailer: whole.trailer });
      }),
      { numRuns: 60 },
    );
  });

  it("have an index that the file's end is enough for", () => {
    fc.assert(
      fc.property(contents, (content) => {
        const file = encode(content);
        const short = parseTail(file.subarray(-24), file.length);
        assert.equal(short.kind, "short");
        const { tailSizeBytes } = short as { tailSizeBytes: number };
        assert.equal(parseTail(file.subarray(-tailSizeBytes + 1), file.length).kind, "short");
        const tail = parseTail(file.subarray(-tailSizeBytes), file.length);
        assert.equal(tail.kind, "whole");
        const { index } = tail;
        index.verify(content.header);
        const places = Array.from({ length: index.count }, (_, at) => index.at(at));
        assert.deepEqual(
          places.map(({ pgno }) => pgno),
          content.pages.map(({ pgno }) => pgno),
        );
        for (const place of places) assert.deepEqual(index.find(place.pgno), place);
      }),
      { numRuns: 60 },
    );
  });

  it("survive or refuse every flipped bit, every cut and every byte put in or left out", () => {
    const small = encodeLtx(
      ltxHeader({ pageSizeBytes: 512, commitPages: 9, minTxid: 3, maxTxid: 4, timestampMs: 5 }),
      [2, 4, 7].map((pgno) => ({ pgno, bytes: pageOf(512, pgno) })),
    );
    for (const file of [small, snapshotWithChecksums, deltaVector, legacyVector]) {
      const pages = [...decodeLtx(file).pages()];
      for (let at = 0; at < file.length; at++) {
        for (let bit = 0; bit < 8; bit++) {
          const flipped = file.slice();
          flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
          assertHarmless(flipped, pages);
        }
        assert.throws(() => decodeLtx(file.subarray(0, at)), { code: "storage_failure" });
        const before = file.subarray(0, at);
        assertHarmless(Buffer.concat([before, file.subarray(at + 1)]), pages);
        assertHarmless(Buffer.concat([before, Uint8Array.of(at & 1), file.subarray(at)]), pages);
      }
      assert.throws(() => decodeLtx(Buffer.concat([file, Uint8Array.of(0)])), {
        code: "storage_failure",
      });
    }
  });

  it("survive or refuse whole ranges of garbage", () => {
    fc.assert(
      fc.property(
        contents,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.uint8Array(),
        (content, where, garbage) => {
          const file = encode(content);
          const damaged = Uint8Array.from(file);
          const at = Math.floor(where * (file.length - 1));
          damaged.set(garbage.subarray(0, file.length - at), at);
          assertHarmless(damaged, content.pages);
          try {
            parseTail(damaged.subarray(-200), damaged.length);
          } catch (error) {
            assert.equal((error as { code?: string }).code, "storage_failure");
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("are not written by mistake: the format's rules hold for the encoder too", () => {
    const header = ltxHeader({
      pageSizeBytes: 65_536,
      commitPages: 20_000,
      minTxid: 2,
      maxTxid: 2,
      timestampMs: 0,
    });
    const bytes = new Uint8Array(65_536);
    const refused = (other: Partial<LtxHeader>, pgnos: number[]): void => {
      const pages = pgnos.map((pgno) => ({ pgno, bytes }));
      assert.throws(() => encodeLtx({ ...header, ...other }, pages), RangeError);
    };
    refused({}, [16_385]);
    refused({}, [0]);
    refused({}, [20_001]);
    refused({}, [3, 3]);
    refused({ minTxid: 1, commitPages: 2 }, [1]);
    refused({ minTxid: 1, commitPages: 2 }, [2]);
    refused({ pageSizeBytes: 4_096 }, [1]);
    refused({ maxTxid: 2 ** 53 }, []);
    refused({ minTxid: 0 }, []);
    refused({ preApplyChecksum: checksumFlag }, []);
    refused({ tracksChecksums: true, preApplyChecksum: checksumFlag }, []);
    refused({ walSize: 1 }, []);
    refused({ pageSizeBytes: 1_000 }, []);
    encodeLtx(header, [
      { pgno: 16_384, bytes },
      { pgno: 16_386, bytes },
    ]);
  });
});
