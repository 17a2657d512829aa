import SqliteDatabase from "better-sqlite3";
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { decodeLtx } from "../ltx/decode.ts";
import { encodeLtx } from "../ltx/encode.ts";
import { PageSource } from "./page-source.ts";
import { RemoteTables } from "./table.ts";
import { ChainRecorder, type ChainFile } from "./testing/chain.ts";
import { CountingStore } from "./testing/counting-store.ts";

const pageSizeBytes = 4_096;

/** A table of rows that do not compress: `rowCount` of 3,000 bytes, a page each. */
function recordRows(rowCount: number): { database: SqliteDatabase.Database; chain: ChainRecorder } {
  const database = new SqliteDatabase(":memory:");
  database.pragma(`page_size = ${pageSizeBytes}`);
  database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)");
  const insert = database.prepare("INSERT INTO t VALUES (?, ?)");
  database.transaction(() => {
    for (let id = 1; id <= rowCount; id++) insert.run(id, randomBytes(3_000));
  })();
  const chain = new ChainRecorder(database, pageSizeBytes);
  chain.commit();
  return { database, chain };
}

const pageOf = (file: Buffer, pgno: number): Uint8Array =>
  Uint8Array.from(file.subarray((pgno - 1) * pageSizeBytes, pgno * pageSizeBytes));

async function assertRefused(files: readonly ChainFile[], message: RegExp): Promise<void> {
  const store = new CountingStore(files);
  await assert.rejects(PageSource.open({ store, files }), { code: "storage_failure", message });
}

describe("page source", () => {
  it("needs one round trip to open, and one to the first page that was not fetched along", async () => {
    const { database, chain } = recordRows(400);
    database.prepare("UPDATE t SET v = ? WHERE id = 7").run(randomBytes(3_000));
    chain.commit();
    const store = new CountingStore(chain.files);
    const [snapshot, delta] = chain.files;
    assert.ok(snapshot !== undefined && delta !== undefined && snapshot.sizeBytes > 1_000_000);
    store.hold();
    const opening = PageSource.open({ store, files: chain.files });
    assert.deepEqual(store.requests, [
      `${snapshot.key} 0+32768`,
      `${snapshot.key} ${snapshot.sizeBytes - 32_768}+32768`,
      `${delta.key} all`,
    ]);
    store.release();
    const source = await opening;
    assert.equal(source.pageCount, chain.database.length / pageSizeBytes);
    assert.equal(source.txid, 2);
    store.requests.length = 0;
    // The schema and the table's root came with the header; the row needs one request.
    const tables = await RemoteTables.open(source);
    const table = await tables.table("t");
    assert.deepEqual(store.requests, []);
    const row = await table.findRow(300);
    const [expected] = database.prepare("SELECT v FROM t WHERE id = 300").pluck().all();
    assert.ok(Buffer.from(row?.[1] as Uint8Array).equals(expected as Buffer));
    assert.equal(store.requests.length, 1);
  });

  it("gives the newest version of every page", async () => {
    const { database, chain } = recordRows(300);
    for (let turn = 0; turn < 5; turn++) {
      for (let id = 1 + turn; id < 300; id += 37) {
        database.prepare("UPDATE t SET v = ? WHERE id = ?").run(randomBytes(2_900), id);
      }
      chain.commit();
    }
    const store = new CountingStore(chain.files);
    const source = await PageSource.open({ store, files: chain.files });
    for (let pgno = 1; pgno <= source.pageCount; pgno++) {
      assert.deepEqual(await source.readPage(pgno), pageOf(chain.database, pgno));
    }
    await assert.rejects(source.readPage(source.pageCount + 1), { code: "storage_failure" });
  });

  it("drops the pages beyond the last size", async () => {
    const { database, chain } = recordRows(200);
    database.exec("DELETE FROM t WHERE id > 20");
    database.exec("VACUUM");
    chain.commit();
    const source = await PageSource.open({
      store: new CountingStore(chain.files),
      files: chain.files,
    });
    assert.equal(source.pageCount, chain.database.length / pageSizeBytes);
    assert.ok(source.pageCount < 60);
    await assert.rejects(source.readPage(source.pageCount + 1), /there is no page/);
  });

  it("asks once for a page that many want, and for those behind it", async () => {
    const { chain } = recordRows(400);
    const store = new CountingStore(chain.files);
    const source = await PageSource.open({ store, files: chain.files });
    store.requests.length = 0;
    store.hold();
    const reads = [200, 200, 201, 215].map((pgno) => source.readPage(pgno));
    const far = source.readPage(300);
    assert.equal(source.waitingCount, 5);
    assert.equal(store.waitingCount, 2);
    store.release();
    const pages = await Promise.all(reads);
    assert.deepEqual(pages[3], pageOf(chain.database, 215));
    await far;
    await source.readPage(202);
    assert.equal(store.requests.length, 2);
    assert.equal(source.waitingCount, 0);
  });

  it("reads pages alone when asked to, and again after a failure", async () => {
    const { chain } = recordRows(400);
    const [snapshot] = chain.files;
    assert.ok(snapshot !== undefined);
    const store = new CountingStore(chain.files);
    const source = await PageSource.open({ store, files: chain.files, readAheadSizeBytes: 0 });
    store.requests.length = 0;
    store.replace(snapshot.key, null);
    await assert.rejects(source.readPage(200), { code: "storage_failure", message: /missing/ });
    store.replace(snapshot.key, snapshot.bytes.subarray(0, 500_000));
    await assert.rejects(source.readPage(200), /shorter/);
    store.replace(snapshot.key, snapshot.bytes);
    assert.deepEqual(await source.readPage(200), pageOf(chain.database, 200));
    assert.deepEqual(await source.readPage(201), pageOf(chain.database, 201));
    assert.equal(store.requests.length, 4);
  });

  it("finds out when a page's bytes are another page's", async () => {
    const { chain } = recordRows(400);
    const [snapshot] = chain.files;
    assert.ok(snapshot !== undefined);
    const store = new CountingStore(chain.files);
    const source = await PageSource.open({ store, files: chain.files });
    const { offsetBytes } = source.files[0]?.index.find(200) ?? { offsetBytes: 0 };
    const damaged = snapshot.bytes.slice();
    damaged[offsetBytes + 3] = 201;
    store.replace(snapshot.key, damaged);
    await assert.rejects(source.readPage(200), /page 201 in place of 200/);
  });

  it("fetches a longer end when the index is longer than was guessed", async () => {
    const database = new SqliteDatabase(":memory:");
    database.pragma(`page_size = 512`);
    database.exec("CREATE TABLE t (v BLOB)");
    const insert = database.prepare("INSERT INTO t VALUES (zeroblob(400))");
    database.transaction(() => {
      for (let row = 0; row < 9_000; row++) insert.run();
    })();
    const chain = new ChainRecorder(database, 512);
    chain.commit();
    const store = new CountingStore(chain.files);
    const source = await PageSource.open({ store, files: chain.files });
    assert.equal(store.requests.length, 3);
    assert.deepEqual(
      await source.readPage(source.pageCount),
      Uint8Array.from(chain.database.subarray(-512)),
    );
  });

  it("refuses a plan that is no database", async () => {
    const { database, chain } = recordRows(3);
    for (let id = 1; id <= 3; id++) {
      database.prepare("UPDATE t SET v = x'00' WHERE id = ?").run(id);
      chain.commit();
    }
    const [first, second, third] = chain.files;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    await assertRefused([second, third], /no snapshot/);
    await assertRefused([first, third], /does not follow transaction 1/);
    await assertRefused([first, { ...second, key: "p/gone", bytes: first.bytes }], /bytes/);
    const { header, pages } = decodeLtx(second.bytes);
    const grown = encodeLtx({ ...header, commitPages: header.commitPages + 1 }, pages());
    const grownFile = { ...second, bytes: grown, sizeBytes: grown.length };
    await assertRefused([first, grownFile], /no file has page/);
    await assertRefused([{ ...first, maxTxid: 5 }], /holds transactions 1 to 1/);
    const store = new CountingStore([first]);
    await assert.rejects(PageSource.open({ store, files: [first, second] }), /is missing/);
    const flipped = first.bytes.slice();
    flipped[150] = (flipped[150] ?? 0) ^ 1;
    await assertRefused([{ ...first, bytes: flipped }], /damaged/);
  });
});
