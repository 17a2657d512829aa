import assert from "node:assert/strict";
import { mkdtempSync, openSync, readFileSync, rmSync, writeSync, closeSync, cpSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { Database } from "../database.ts";
import type { CapturedChange } from "./database-replica.ts";
import { frameHeaderSizeBytes, walHeaderSizeBytes } from "./wal-format.ts";
import { WalCapture } from "./wal-capture.ts";

test("what is captured builds the database byte for byte, one transaction after the other", (t) => {
  const { database, capture, replica } = begin(t);
  database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)");
  const first = capture.capture();
  assert.equal(first?.isImage, true);
  replica.take(capture, first);
  for (let round = 0; round < 20; round += 1) {
    database.execute("INSERT INTO t (body) VALUES (randomblob(3000))");
    const change = capture.capture();
    assert.equal(change?.isImage, false);
    replica.take(capture, change);
    assert.deepEqual(replica.bytes, database.serialize());
    assert.equal(capture.capture(), null);
  }
});

test("a capture that was not advanced past is told again, with what came since", (t) => {
  const { database, capture, replica } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  database.execute("INSERT INTO t VALUES (1)");
  const small = capture.capture();
  database.execute("CREATE TABLE other (body)");
  const large = capture.capture();
  assert.ok((large?.pageCount ?? 0) > (small?.pageCount ?? 0));
  replica.take(capture, large);
  assert.deepEqual(replica.bytes, database.serialize());
});

test("only a log that is captured and advanced past is folded, and the next one continues it", (t) => {
  const { database, capture, replica } = begin(t);
  database.execute("CREATE TABLE t (body)");
  const change = capture.capture();
  assert.equal(capture.truncateIfLong(0), false, "nothing is in the bucket yet");
  replica.take(capture, change);
  database.execute("INSERT INTO t VALUES (1)");
  assert.equal(capture.truncateIfLong(0), false, "a transaction is not captured");
  replica.take(capture, capture.capture());
  assert.equal(capture.truncateIfLong(), false, "the log is short");
  assert.equal(capture.truncateIfLong(0), true);
  assert.equal(capture.capture(), null);
  database.execute("INSERT INTO t VALUES (2)");
  const next = capture.capture();
  assert.equal(next?.isImage, false);
  replica.take(capture, next);
  assert.deepEqual(replica.bytes, database.serialize());
});

test("an image is of the last advance, whatever was committed since, and keeps the log from being cut", (t) => {
  const { database, capture, replica } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  const then = database.serialize();
  database.execute("INSERT INTO t VALUES (randomblob(20000))");
  const image = capture.image();
  assert.ok(image !== null);
  assert.deepEqual(applied(new Uint8Array(), image), then);
  replica.take(capture, capture.capture());
  assert.equal(capture.truncateIfLong(0), false);
  assert.deepEqual(applied(new Uint8Array(), image), then, "also after a later advance");
  image.release();
  assert.equal(capture.truncateIfLong(0), true);
});

test("a database that shrinks and grows again is captured whole", (t) => {
  const { database, capture, replica } = begin(t);
  database.execute("CREATE TABLE t (body)");
  database.execute("INSERT INTO t VALUES (randomblob(200000))");
  replica.take(capture, capture.capture());
  database.execute("DELETE FROM t");
  database.execute("VACUUM");
  replica.take(capture, capture.capture());
  assert.deepEqual(replica.bytes, database.serialize());
  assert.ok(replica.bytes.length < 20_000);
  database.execute("INSERT INTO t VALUES (zeroblob(300000))");
  replica.take(capture, capture.capture());
  assert.deepEqual(replica.bytes, database.serialize());
});

test("a log that somebody else folded and began anew is never taken for a continuation", (t) => {
  const { database, capture, replica, path } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  const other = Database.open(path);
  database.execute("INSERT INTO t VALUES (1)");
  assert.equal(other.truncateWal(), true);
  const image = capture.capture();
  assert.equal(image?.isImage, true, "the log is empty, and what was in it is unknown");
  replica.take(capture, image);
  database.execute("INSERT INTO t VALUES (2)");
  assert.equal(other.truncateWal(), true);
  database.execute("INSERT INTO t VALUES (3)");
  const again = capture.capture();
  assert.equal(again?.isImage, true, "a log of another beginning");
  replica.take(capture, again);
  assert.deepEqual(replica.bytes, database.serialize());
  other.close();
});

test("a saved position is believed at the next open while the log is the same", (t) => {
  const { database, capture, replica, path } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  const position = capture.position();
  database.execute("INSERT INTO t VALUES (1)");
  // What a killed process leaves: the files as they are.
  const copy = copyOf(t, path);
  const revived = Database.open(copy, { isReplicated: true });
  const again = WalCapture.open({ path: copy, connection: revived, position });
  const change = again.capture();
  assert.equal(change?.isImage, false);
  replica.take(again, change);
  assert.deepEqual(replica.bytes, revived.serialize());
  revived.close();
  again.close();
});

test("a position is believed after an orderly close, and not after another's change", (t) => {
  const { database, capture, replica, path } = begin(t, { isClosedByTest: true });
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  assert.equal(capture.truncateIfLong(0), true);
  const position = capture.position();
  database.close();
  capture.close();

  const second = Database.open(path, { isReplicated: true });
  const believed = WalCapture.open({ path, connection: second, position });
  assert.equal(believed.capture(), null);
  second.execute("INSERT INTO t VALUES (1)");
  const change = believed.capture();
  assert.equal(change?.isImage, false);
  replica.take(believed, change);
  assert.deepEqual(replica.bytes, second.serialize());
  second.close();
  believed.close();

  const third = Database.open(path, { isReplicated: true });
  const doubted = WalCapture.open({ path, connection: third, position });
  assert.equal(doubted.capture()?.isImage, true, "the close folded a transaction into the file");
  third.close();
  doubted.close();
});

test("an image that others' folding has mixed with what came later is not given", (t) => {
  const { database, capture, replica, path } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  const before = capture.image();
  assert.ok(before !== null);
  const other = Database.open(path);
  other.execute("INSERT INTO t VALUES (1)");
  assert.equal(other.truncateWal(), true);
  other.close();
  assert.equal(capture.image(), null);
  assert.throws(() => [...before.pages()], { code: "storage_failure" });
});

test("a position beyond the log's end, or in the log of a copy that went another way, is not believed", (t) => {
  const { database, capture, replica, path } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  const copy = copyOf(t, path);
  database.execute("INSERT INTO t VALUES ('one way')");
  replica.take(capture, capture.capture());
  const position = capture.position();
  for (const otherWay of ["SELECT 1", "INSERT INTO t VALUES ('another')"]) {
    const diverged = Database.open(copy, { isReplicated: true });
    diverged.execute(otherWay);
    const doubted = WalCapture.open({ path: copy, connection: diverged, position });
    assert.equal(doubted.capture()?.isImage, true, otherWay);
    // Closed in this order the log would be folded: the next round needs it as it is.
    t.after(() => diverged.close());
    t.after(() => doubted.close());
  }
});

test("a position of another database is not believed", (t) => {
  const one = begin(t);
  one.database.execute("CREATE TABLE t (body)");
  one.replica.take(one.capture, one.capture.capture());
  const two = begin(t);
  two.database.execute("CREATE TABLE t (body)");
  const { path, database: connection } = two;
  const capture = WalCapture.open({ path, connection, position: one.capture.position() });
  assert.equal(capture.capture()?.isImage, true);
  capture.close();
});

test("a log with a flipped bit is an error, not a gap", (t) => {
  const { database, capture, replica, path } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  const before = readFileSync(`${path}-wal`).length;
  database.execute("INSERT INTO t VALUES (1)");
  const descriptor = openSync(`${path}-wal`, "r+");
  writeSync(descriptor, Uint8Array.of(0x55), 0, 1, before + frameHeaderSizeBytes + 99);
  closeSync(descriptor);
  assert.throws(() => capture.capture(), { code: "storage_failure" });
});

test("a transaction that was rolled back is not captured, though the log has its frames", (t) => {
  const { database, capture, replica, path } = begin(t);
  database.execute("CREATE TABLE t (body)");
  replica.take(capture, capture.capture());
  database.execute("PRAGMA cache_size = 2");
  const before = readFileSync(`${path}-wal`).length;
  database.execute("BEGIN; INSERT INTO t VALUES (randomblob(500000)); INSERT INTO t VALUES (2)");
  database.execute("UPDATE t SET body = randomblob(500000)");
  assert.ok(readFileSync(`${path}-wal`).length > before, "the frames are in the file");
  database.execute("ROLLBACK");
  assert.equal(capture.capture(), null);
  database.execute("INSERT INTO t VALUES (3)");
  replica.take(capture, capture.capture());
  assert.deepEqual(replica.bytes, database.serialize());
});

for (const pageSizeBytes of [512, 1024, 4096, 32_768, 65_536]) {
  test(`pages of ${pageSizeBytes} bytes are captured`, (t) => {
    const { database, capture, replica } = begin(t, { pageSizeBytes });
    database.execute("CREATE TABLE t (body)");
    replica.take(capture, capture.capture());
    database.execute("INSERT INTO t VALUES (randomblob(100000))");
    const change = capture.capture();
    assert.equal(change?.pageSizeBytes, pageSizeBytes);
    replica.take(capture, change);
    assert.deepEqual(replica.bytes, database.serialize());
    assert.equal(readFileSync(`${database.path}-wal`).length > walHeaderSizeBytes, true);
  });
}

function begin(t: TestContext, options: { pageSizeBytes?: number; isClosedByTest?: boolean } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "wal-capture-"));
  const path = join(directory, "test.db");
  if (options.pageSizeBytes !== undefined) {
    const draft = Database.open(path, { create: true, pageSizeBytes: options.pageSizeBytes });
    draft.close();
  }
  const database = Database.open(path, { create: true, isReplicated: true });
  const capture = WalCapture.open({ path, connection: database, position: null });
  t.after(() => {
    if (!options.isClosedByTest) database.close();
    if (!options.isClosedByTest) capture.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { database, capture, path, replica: new Replica() };
}

function copyOf(t: TestContext, path: string): string {
  const directory = mkdtempSync(join(tmpdir(), "wal-capture-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const copy = join(directory, "copy.db");
  cpSync(path, copy);
  cpSync(`${path}-wal`, `${copy}-wal`);
  return copy;
}

/** A database that consists of nothing but captured changes. */
class Replica {
  bytes: Uint8Array = new Uint8Array();
  #txid = 0;

  take(capture: WalCapture, change: CapturedChange | null): void {
    assert.ok(change !== null, "something was committed");
    this.bytes = applied(this.bytes, change);
    this.#txid += 1;
    capture.advance(change, this.#txid);
  }
}

function applied(before: Uint8Array, change: CapturedChange): Uint8Array {
  const { pageSizeBytes, commitPages } = change;
  const bytes = Buffer.alloc(commitPages * pageSizeBytes);
  if (!change.isImage) bytes.set(before.subarray(0, bytes.length));
  let last = 0;
  let count = 0;
  for (const page of change.pages()) {
    assert.ok(page.pgno > last && page.pgno <= commitPages);
    bytes.set(page.bytes, (page.pgno - 1) * pageSizeBytes);
    last = page.pgno;
    count += 1;
  }
  assert.equal(count, change.pageCount);
  return bytes;
}
