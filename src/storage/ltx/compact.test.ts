import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addPageChecksum } from "./checksum.ts";
import { compactLtx, type CompactOptions } from "./compact.ts";
import { decodeLtx } from "./decode.ts";
import { encodeLtx } from "./encode.ts";
import { checksumFlag, ltxHeader, type LtxHeader } from "./format.ts";
import type { LtxSource } from "./reader.ts";
import { deltaVector, snapshotWithChecksums } from "./testing/golden-vectors.ts";

const page = (value: number): Uint8Array => new Uint8Array(512).fill(value);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

interface FileFields {
  min: number;
  max: number;
  commit: number;
  pages: Record<number, number>;
  header?: Partial<LtxHeader>;
  post?: bigint;
}

function file({ min, max, commit, pages, header, post }: FileFields): Uint8Array {
  const fields = { pageSizeBytes: 512, commitPages: commit, minTxid: min, maxTxid: max };
  return encodeLtx(
    ltxHeader({ ...fields, timestampMs: max * 10, ...header }),
    Object.entries(pages).map(([pgno, value]) => ({ pgno: Number(pgno), bytes: page(value) })),
    { postApplyChecksum: post },
  );
}

async function compact(sources: LtxSource[], options?: CompactOptions): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of compactLtx(sources, options)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The first byte of each page. */
const contentOf = (bytes: Uint8Array): Record<number, number | undefined> =>
  Object.fromEntries(
    [...decodeLtx(bytes).pages()].map(({ pgno, bytes: [first] }) => [pgno, first]),
  );

async function assertRefused(
  sources: LtxSource[],
  message: RegExp,
  options?: CompactOptions,
): Promise<void> {
  await assert.rejects(compact(sources, options), { code: "storage_failure", message });
}

describe("merging LTX files", () => {
  it("golden vector D: what the Go library makes of a snapshot and vector B", async () => {
    // The Go library wrote both inputs, so their blocks are its own: page 1 and 2 are 512 times "1".
    const block = [...snapshotWithChecksums.subarray(110, 134)];
    const header = ltxHeader({
      pageSizeBytes: 512,
      commitPages: 2,
      minTxid: 1,
      maxTxid: 1,
      timestampMs: 1,
    });
    const ones = { bytes: page(0x31), block: Uint8Array.from(block) };
    const snapshot = encodeLtx(header, [
      { pgno: 1, ...ones },
      { pgno: 2, ...ones },
    ]);
    const merged = await compact([[snapshot], [deltaVector]]);
    assert.equal(merged.length, 244);
    assert.equal(decodeLtx(merged).trailer.fileChecksum, 0xbde7_802c_e203_f59cn);
    assert.deepEqual(contentOf(merged), { 1: 0x31, 2: 0x31, 3: 0x83 });
    // Index: page 1 at 100, page 2 at 134 (86 01), page 3 at 168 (a8 01), 34 bytes each: 12 bytes with the end.
    assert.equal(hex(merged.subarray(208, 220)), "016422" + "02860122" + "03a80122" + "00");
  });

  it("takes the newest of each page and nothing beyond the last size", async () => {
    const merged = await compact([
      [file({ min: 4, max: 4, commit: 9, pages: { 2: 1, 5: 1, 9: 1 }, header: { nodeId: 7n } })],
      [file({ min: 5, max: 8, commit: 12, pages: { 2: 2, 5: 2, 11: 2, 12: 2 } })],
      [
        file({
          min: 7,
          max: 9,
          commit: 6,
          pages: { 5: 3, 6: 3 },
          header: { walOffset: 32, walSalt1: 1 },
        }),
      ],
    ]);
    assert.deepEqual(contentOf(merged), { 2: 2, 5: 3, 6: 3 });
    const expected = {
      pageSizeBytes: 512,
      commitPages: 6,
      minTxid: 4,
      maxTxid: 9,
      timestampMs: 90,
    };
    assert.deepEqual(decodeLtx(merged).header, ltxHeader(expected));
  });

  it("merges streams that come byte by byte, and copies blocks as they are", async () => {
    const bytes = [
      file({
        min: 1,
        max: 1,
        commit: 40,
        pages: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [at + 1, at])),
      }),
      file({ min: 2, max: 2, commit: 40, pages: { 7: 200 } }),
    ];
    const slow = bytes.map((whole) => [...whole].map((byte) => Uint8Array.of(byte)));
    const merged = await compact(slow);
    assert.equal(hex(merged), hex(await compact(bytes.map((whole) => [whole]))));
    assert.equal(contentOf(merged)[7], 200);
  });

  it("carries the database's checksums when asked to", async () => {
    const sum = (values: number[]): bigint =>
      values.reduce((sum, value, at) => addPageChecksum(sum, at + 1, page(value)), checksumFlag);
    const tracked = { tracksChecksums: true };
    const snapshot = file({ min: 1, max: 1, commit: 2, pages: { 1: 1, 2: 2 }, header: tracked });
    assert.equal(decodeLtx(snapshot).trailer.postApplyChecksum, sum([1, 2]));
    const delta = file({
      ...{ min: 2, max: 2, commit: 2, pages: { 2: 3 } },
      header: { ...tracked, preApplyChecksum: sum([1, 2]) },
      post: sum([1, 3]),
    });
    const merged = decodeLtx(await compact([[snapshot], [delta]], tracked));
    assert.equal(merged.trailer.postApplyChecksum, sum([1, 3]));
    assert.equal(decodeLtx(await compact([[snapshot], [delta]])).trailer.postApplyChecksum, 0n);
    const untracked = file({ min: 3, max: 3, commit: 2, pages: { 2: 4 } });
    await assertRefused([[delta], [untracked]], /no checksums/, tracked);
  });

  it("refuses what does not fit together, and what is damaged anywhere", async () => {
    const first = file({ min: 2, max: 5, commit: 3, pages: { 1: 1 } });
    await assertRefused(
      [[first], [file({ min: 7, max: 7, commit: 3, pages: {} })]],
      /does not follow/,
    );
    await assertRefused(
      [[first], [file({ min: 3, max: 5, commit: 3, pages: {} })]],
      /does not follow/,
    );
    const other = encodeLtx(
      ltxHeader({ pageSizeBytes: 1_024, commitPages: 1, minTxid: 6, maxTxid: 6, timestampMs: 1 }),
      [],
    );
    await assertRefused([[first], [other]], /page sizes/);
    await assertRefused([[first.subarray(0, 50)]], /no header/);
    await assertRefused([[first.subarray(0, -1)]], /end/);
    const damaged = first.slice();
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await assertRefused([[damaged], [file({ min: 6, max: 6, commit: 3, pages: {} })]], /checksum/);
    // The database grew without its new page: no snapshot can be made of that.
    const snapshot = file({ min: 1, max: 1, commit: 1, pages: { 1: 1 } });
    await assertRefused(
      [[snapshot], [file({ min: 2, max: 2, commit: 2, pages: {} })]],
      /without page 2/,
    );
    await assert.rejects(compact([]), RangeError);
  });
});
