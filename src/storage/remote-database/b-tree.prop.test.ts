import SqliteDatabase from "better-sqlite3";
import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "node:test";
import type { SqlValue } from "../database.ts";
import type { PageReader } from "./pages.ts";
import { RemoteTables } from "./table.ts";

/** The walker against SQLite itself, on databases that grew by random insertions and deletions. */

const pageSizes = [512, 1_024, 4_096, 65_536];

/** The pages of a database as SQLite would write its file. */
function pagesOf(database: SqliteDatabase.Database, pageSizeBytes: number): PageReader {
  const file = database.serialize();
  return {
    pageSizeBytes,
    pageCount: file.length / pageSizeBytes,
    readPage: (pgno) =>
      Promise.resolve(file.subarray((pgno - 1) * pageSizeBytes, pgno * pageSizeBytes)),
  };
}

function openDatabase(pageSizeBytes: number, encoding = "UTF-8"): SqliteDatabase.Database {
  const database = new SqliteDatabase(":memory:");
  database.pragma(`page_size = ${pageSizeBytes}`);
  database.pragma(`encoding = '${encoding}'`);
  return database;
}

/** What better-sqlite3 returns, in the forms that the walker has. */
function normal(value: unknown): SqlValue {
  if (Buffer.isBuffer(value)) return Uint8Array.from(value);
  if (typeof value !== "bigint") return value as SqlValue;
  const isSafe =
    BigInt(Number.MIN_SAFE_INTEGER) <= value && value <= BigInt(Number.MAX_SAFE_INTEGER);
  return isSafe ? Number(value) : value;
}

/** All rows of a query as arrays, integers exact. */
function select(
  database: SqliteDatabase.Database,
  sql: string,
  ...values: SqlValue[]
): SqlValue[][] {
  const rows = database
    .prepare(sql)
    .safeIntegers()
    .raw()
    .all(...values.map(asInteger));
  return (rows as unknown[][]).map((row) => row.map(normal));
}

/** A whole number is bound as an integer, as our maps do; better-sqlite3 would bind it as a float. */
const asInteger = (value: SqlValue): SqlValue =>
  typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;

async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

const int64 = fc
  .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  .map((value) => normal(value) as number | bigint);
const rowIds: fc.Arbitrary<number | bigint> = fc.oneof(
  fc.integer({ min: -50, max: 400 }),
  fc.integer(),
  int64,
);
const blobs = fc
  .tuple(fc.oneof(fc.nat(60), fc.nat(700), fc.nat(9_000), fc.nat(150_000)), fc.nat(255))
  .map(([size, seed]) => Uint8Array.from({ length: size }, (_, at) => (at * 31 + seed) % 256));
const values: fc.Arbitrary<SqlValue> = fc.oneof(
  fc.constant(null),
  fc.constantFrom(
    0,
    1,
    -1,
    127,
    128,
    -128,
    -129,
    32_768,
    8_388_608,
    -8_388_609,
    2 ** 31,
    2 ** 47,
    -(2 ** 47) - 1,
  ),
  int64,
  fc.double({ noNaN: true }).filter((value) => !Number.isInteger(value)),
  fc.string({ maxLength: 80, unit: "binary" }).filter((text) => !text.includes("\0")),
  blobs,
);
const keyParts = fc.oneof(
  fc.integer({ min: 0, max: 5 }),
  fc.string({ maxLength: 3 }).filter((text) => !text.includes("\0")),
  fc.uint8Array({ maxLength: 300 }),
  int64,
);

describe("B-trees without SQLite", () => {
  it("give the rows of tables with row ids", async () => {
    const runs = fc.record({
      pageSizeBytes: fc.constantFrom(...pageSizes),
      encoding: fc.constantFrom("UTF-8", "UTF-16le", "UTF-16be"),
      rows: fc.array(fc.tuple(rowIds, values, values), { maxLength: 120, size: "max" }),
      deleted: fc.array(fc.nat(119)),
      range: fc
        .tuple(rowIds, rowIds)
        .map(([a, b]): [SqlValue, SqlValue] => (a < b ? [a, b] : [b, a])),
    });
    await fc.assert(
      fc.asyncProperty(runs, async ({ pageSizeBytes, encoding, rows, deleted, range }) => {
        const database = openDatabase(pageSizeBytes, encoding);
        database.exec("CREATE TABLE other (a); CREATE TABLE t (a, id INTEGER PRIMARY KEY, b)");
        const insert = database.prepare("INSERT OR REPLACE INTO t (id, a, b) VALUES (?, ?, ?)");
        for (const row of rows) insert.run(...row.map(asInteger));
        for (const at of deleted) {
          const id = rows[at]?.[0];
          if (id !== undefined) database.prepare("DELETE FROM t WHERE id = ?").run(asInteger(id));
        }
        const tables = await RemoteTables.open(pagesOf(database, pageSizeBytes));
        const table = await tables.table("t");
        for (const id of [...rows.map(([rowid]) => rowid), ...range]) {
          const [expected] = select(database, "SELECT a, NULL, b FROM t WHERE id = ?", id);
          assert.deepEqual(await table.findRow(id), expected ?? null);
        }
        const expected = select(
          database,
          "SELECT id, a, NULL, b FROM t WHERE id BETWEEN ? AND ? ORDER BY id",
          ...range,
        );
        const scanned = await collect(table.scanRange([range[0]], [range[1]]));
        assert.deepEqual(
          scanned,
          expected.map(([rowid, ...rest]) => ({ rowid, values: rest })),
        );
        database.close();
      }),
      { numRuns: 60 },
    );
  });

  it("give the rows of tables without row ids", async () => {
    const key = fc.tuple(keyParts, keyParts);
    const runs = fc.record({
      pageSizeBytes: fc.constantFrom(...pageSizes),
      rows: fc.array(fc.tuple(key, values), { maxLength: 150, size: "max" }),
      deleted: fc.array(fc.nat(149)),
      others: fc.array(key, { maxLength: 5 }),
      bounds: fc.tuple(fc.array(keyParts, { maxLength: 2 }), fc.array(keyParts, { maxLength: 2 })),
    });
    await fc.assert(
      fc.asyncProperty(runs, async ({ pageSizeBytes, rows, deleted, others, bounds }) => {
        const database = openDatabase(pageSizeBytes);
        database.exec(
          "CREATE TABLE t (v ANY, a ANY, b ANY, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID",
        );
        const insert = database.prepare("INSERT OR REPLACE INTO t (a, b, v) VALUES (?, ?, ?)");
        for (const [[a, b], v] of rows) insert.run(...[a, b, v].map(asInteger));
        for (const at of deleted) {
          const [gone] = rows[at] ?? [];
          if (gone === undefined) continue;
          database.prepare("DELETE FROM t WHERE a = ? AND b = ?").run(...gone.map(asInteger));
        }
        const tables = await RemoteTables.open(pagesOf(database, pageSizeBytes));
        const table = await tables.table("t");
        for (const wanted of [...rows.map(([known]) => known), ...others]) {
          const [expected] = select(
            database,
            "SELECT a, b, v FROM t WHERE a = ? AND b = ?",
            ...wanted,
          );
          assert.deepEqual(await table.findRow(...wanted), expected ?? null);
        }
        const [from, to] = bounds;
        const expected = select(database, scanSql(from.length, to.length), ...from, ...to);
        const scanned = await collect(table.scanRange(from, to));
        assert.deepEqual(
          scanned,
          expected.map((row) => ({ rowid: null, values: row })),
        );
        database.close();
      }),
      { numRuns: 60 },
    );
  });

  it("give rows of every size at which SQLite moves a part to overflow pages", async () => {
    for (const pageSizeBytes of [512, 4_096]) {
      const database = openDatabase(pageSizeBytes);
      database.exec(`
        CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB) STRICT;
        CREATE TABLE w (a INTEGER PRIMARY KEY, v BLOB) STRICT, WITHOUT ROWID`);
      // A row has some bytes beside the blob. All sizes near the limits of both kinds of tree, with 0 to 2 overflow pages.
      const indexMax = Math.floor(((pageSizeBytes - 12) * 64) / 255) - 23;
      const limits = [pageSizeBytes - 35, indexMax].flatMap((limit) => [
        limit,
        limit + pageSizeBytes - 4,
        limit + 2 * (pageSizeBytes - 4),
      ]);
      const sizes = limits.flatMap((limit) =>
        Array.from({ length: 40 }, (_, at) => limit - 30 + at),
      );
      for (const [id, size] of sizes.entries()) {
        const blob = Buffer.alloc(size, id);
        blob.writeUInt32BE(id, size - 4);
        database.prepare("INSERT INTO t VALUES (?, ?)").run(BigInt(id), blob);
        database.prepare("INSERT INTO w VALUES (?, ?)").run(BigInt(id), blob);
      }
      const tables = await RemoteTables.open(pagesOf(database, pageSizeBytes));
      const whole: [SqlValue[], SqlValue[]] = [[0], [sizes.length]];
      const rows = await collect((await tables.table("t")).scanRange(...whole));
      const expected = select(database, "SELECT a, v FROM w ORDER BY a");
      assert.deepEqual(
        rows.map(({ rowid, values: [, v] }) => [rowid, v]),
        expected,
      );
      const keyed = await collect((await tables.table("w")).scanRange(...whole));
      assert.deepEqual(
        keyed.map(({ values: row }) => row),
        expected,
      );
      database.close();
    }
  });

  it("have no end when a page is its own child, which is noticed", async () => {
    const database = openDatabase(512);
    database.exec(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, zeroblob(300))",
    );
    for (let id = 2; id < 10; id++) database.exec(`INSERT INTO t VALUES (${id}, zeroblob(300))`);
    const sound = pagesOf(database, 512);
    const pages: PageReader = {
      ...sound,
      async readPage(pgno) {
        const page = Uint8Array.from(await sound.readPage(pgno));
        // The last child of the table's root is at offset 8 of an interior page.
        if (pgno === 2) new DataView(page.buffer).setUint32(8, 2);
        return page;
      },
    };
    const table = await (await RemoteTables.open(pages)).table("t");
    await assert.rejects(table.findRow(100), { code: "storage_failure", message: /no end/ });
    await assert.rejects(collect(table.scanRange([0], [100])), /no end/);
    database.close();
  });

  it("find a leaf among many with few pages", async () => {
    const database = openDatabase(4_096);
    database.exec("CREATE TABLE leaf (id INTEGER PRIMARY KEY, generation INTEGER, data BLOB)");
    database.exec(
      "CREATE TABLE root (file, leaf_index, leaf, PRIMARY KEY (file, leaf_index)) WITHOUT ROWID",
    );
    const leaf = database.prepare("INSERT INTO leaf VALUES (?, 1, ?)");
    const root = database.prepare("INSERT INTO root VALUES (1, ?, ?)");
    database.transaction(() => {
      for (let at = 0; at < 3_000; at++) {
        leaf.run(at + 1, Buffer.alloc(3_072, at));
        root.run(BigInt(at), BigInt(3_000 - at));
      }
    })();
    const pages = pagesOf(database, 4_096);
    let count = 0;
    const counted = { ...pages, readPage: (pgno: number) => (count++, pages.readPage(pgno)) };
    const tables = await RemoteTables.open(counted);
    const [roots, leaves] = [await tables.table("root"), await tables.table("leaf")];
    count = 0;
    assert.deepEqual(await roots.findRow(1, 17), [1, 17, 2_983]);
    const row = await leaves.findRow(2_983);
    assert.deepEqual(row?.[2], new Uint8Array(3_072).fill(2_982));
    assert.ok(count <= 6, `${count} pages`);
    database.close();
  });

  it("refuse damaged pages and never run away", async () => {
    const database = openDatabase(512);
    database.exec(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE w (a PRIMARY KEY, v) WITHOUT ROWID",
    );
    for (let at = 0; at < 60; at++) {
      database.prepare("INSERT INTO t VALUES (?, ?)").run(at, Buffer.alloc(at * 20, at));
      database.prepare("INSERT INTO w VALUES (?, ?)").run(at, Buffer.alloc(at * 20, at));
    }
    const sound = pagesOf(database, 512);
    const damage = fc.array(fc.tuple(fc.nat(sound.pageCount - 1), fc.nat(511), fc.nat(255)), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(60), async (changes, wanted) => {
        const pages: PageReader = {
          ...sound,
          async readPage(pgno) {
            const page = Uint8Array.from(await sound.readPage(pgno));
            for (const [at, offset, value] of changes) if (at + 1 === pgno) page[offset] = value;
            return page;
          },
        };
        try {
          const tables = await RemoteTables.open(pages);
          for (const name of ["t", "w"]) {
            const table = await tables.table(name);
            await table.findRow(wanted);
            let count = 0;
            for await (const row of table.scanRange([0], [100])) {
              assert.ok(row.values.length >= 0);
              if (count++ > 10_000) break;
            }
          }
        } catch (error) {
          assert.equal((error as { code?: string }).code, "storage_failure", String(error));
        }
      }),
      { numRuns: 150 },
    );
    database.close();
  });
});

/** A scan between keys of none, one or two columns, as SQL. */
function scanSql(fromCount: number, toCount: number): string {
  const bound = (count: number, operator: string): string =>
    count === 0 ? "1" : count === 1 ? `a ${operator} ?` : `(a, b) ${operator} (?, ?)`;
  return `SELECT a, b, v FROM t WHERE ${bound(fromCount, ">=")} AND ${bound(toCount, "<=")} ORDER BY a, b`;
}
