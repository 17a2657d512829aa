import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeLtx } from "../ltx/decode.ts";
import type { LtxPage } from "../ltx/format.ts";
import { readHeader } from "../ltx/header.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { ChainWriter } from "./chain-writer.ts";
import type { CapturedChange, Position } from "./database-replica.ts";

const prefix = "sprites/a/meta";
const pageSizeBytes = 512;

test("each change is the next transaction, by one create-only PUT", async () => {
  const { store, chain } = begin();
  assert.deepEqual(await chain.ship(image(1)), { txid: 1, writer: 1n });
  assert.deepEqual(await chain.ship(change(2)), { txid: 2, writer: 1n });
  assert.deepEqual(store.statistics().requests, { get: 0, put: 2, list: 0, delete: 0 });
  const key = `${prefix}/0000/0000000000000002-0000000000000002.ltx`;
  const { header, pages } = decodeLtx(store.contents().get(key) ?? new Uint8Array());
  assert.equal(header.nodeId, 1n);
  assert.equal(header.tracksChecksums, false);
  assert.deepEqual(
    [...pages()].map((page) => page.bytes[0]),
    [2],
  );
  assert.deepEqual(
    chain.files().map(({ level, minTxid, maxTxid }) => [level, minTxid, maxTxid]),
    [
      [0, 1, 1],
      [0, 2, 2],
    ],
  );
});

test("of two writers one makes the next transaction; the other is fenced, for good", async () => {
  const { store, chain } = begin();
  const position = await chain.ship(image(1));
  const other = writer(store, { position: { ...position, writer: 2n }, id: 2n });
  await other.ship(change(2));
  const before = new Map(store.contents());
  await assert.rejects(chain.ship(change(3)), { details: { isFenced: true } });
  await assert.rejects(chain.ship(change(3)), { details: { isFenced: true } });
  assert.deepEqual(store.contents(), before, "the loser has changed nothing");
  await other.ship(change(4));
  await assert.rejects(chain.ship(change(3)), { details: { isFenced: true } });
  assert.equal(chain.position?.txid, 1);
});

test("a transaction of ours whose answer was lost is told from another writer's", async () => {
  const { store, chain } = begin();
  await chain.ship(image(1));
  store.faults.setRules([{ fault: { kind: "lost-reply", isReadBack: false }, count: 1 }]);
  await assert.rejects(chain.ship(change(2)), { code: "storage_failure" });
  // The next attempt has more in it, as a capture would: it goes on top.
  assert.deepEqual(await chain.ship(change(3)), { txid: 3, writer: 1n });
  assert.deepEqual(firstBytes(store), [1, 2, 3]);
});

test("the very transaction that is already there is not stored twice", async () => {
  const { store, chain } = begin();
  await chain.ship(image(1));
  store.faults.setRules([{ fault: { kind: "lost-reply", isReadBack: false }, count: 1 }]);
  await assert.rejects(chain.ship(change(2)));
  assert.deepEqual(await chain.ship(change(2)), { txid: 2, writer: 1n });
  assert.equal(store.contents().size, 2);
});

test("a writer that died before it noted its last transaction goes on after it", async () => {
  const { store, chain } = begin();
  const position = await chain.ship(image(1));
  await chain.ship(change(2));
  const revived = writer(store, { position });
  assert.equal((await revived.ship(change(3))).txid, 3);
});

test("a transaction that arrives late, after its writer gave it up, harms nobody", async () => {
  const { store, chain } = begin();
  await chain.ship(image(1));
  store.faults.setRules([{ fault: { kind: "late", afterRequests: 1 }, count: 1 }]);
  await assert.rejects(chain.ship(change(2)));
  await chain.ship(change(3));
  store.settle();
  await chain.ship(change(4));
  assert.deepEqual(firstBytes(store).slice(-2), [3, 4]);
});

test("times do not go back when the clock does", async () => {
  let nowMs = 5_000;
  const { store, chain } = begin(() => nowMs);
  await chain.ship(image(1));
  nowMs = 1_000;
  await chain.ship(change(2));
  const times = [...store.contents().values()].map((bytes) => readHeader(bytes).timestampMs);
  assert.deepEqual(times, [5_000, 5_000]);
});

test("a chain that nobody began begins with a whole database", async () => {
  const { chain } = begin();
  await assert.rejects(chain.ship(change(1)), /whole database/);
});

test("a transaction without a page takes its number all the same", async () => {
  const { store, chain } = begin();
  await chain.ship(image(1));
  await chain.ship({ ...change(0), pageCount: 0, pages: () => [] });
  assert.equal(chain.position?.txid, 2);
  assert.deepEqual(firstBytes(store), [1, undefined]);
});

function begin(nowMs?: () => number) {
  const store = new MemoryObjectStore({ now: () => 0 });
  return { store, chain: writer(store, { position: null, nowMs }) };
}

function writer(
  store: MemoryObjectStore,
  options: { position: Position | null; id?: bigint; nowMs?: (() => number) | undefined },
): ChainWriter {
  const { position, id = 1n, nowMs = () => 1_000 } = options;
  return new ChainWriter({ store, prefix, writer: id, position, files: [], nowMs });
}

/** A database of one page that is filled with the byte. */
function image(byte: number): CapturedChange {
  return { ...change(byte), isImage: true };
}

function change(byte: number): CapturedChange {
  const page: LtxPage = { pgno: 1, bytes: new Uint8Array(pageSizeBytes).fill(byte) };
  return { pageSizeBytes, commitPages: 1, isImage: false, pageCount: 1, pages: () => [page] };
}

/** Of the only page, transaction by transaction. */
function firstBytes(store: MemoryObjectStore): Array<number | undefined> {
  const contents = [...store.contents()].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return contents.map(([, bytes]) => [...decodeLtx(bytes).pages()][0]?.bytes[0]);
}
