import SqliteDatabase from "better-sqlite3";
import assert from "node:assert/strict";
import fc from "fast-check";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { after, describe, it } from "node:test";
import { Database } from "../database.ts";
import { decodeLtx } from "../ltx/decode.ts";
import { encodeLtx } from "../ltx/encode.ts";
import { Hydration } from "./hydration.ts";
import { hydrationRequestsCountBusy, hydrationRequestsCountMax } from "./limits.ts";
import { PageSource } from "./page-source.ts";
import { ChainRecorder } from "./testing/chain.ts";
import { CountingStore } from "./testing/counting-store.ts";

const directory = mkdtempSync(join(tmpdir(), "opensprites-hydration-"));
after(() => rmSync(directory, { recursive: true }));
let pathCount = 0;
const newPath = (): string => join(directory, `map-${pathCount++}.db`);

/** One snapshot of some megabytes that do not compress, in WAL mode, and a small change. */
function recordLarge(rowCount: number): {
  chain: ChainRecorder;
  database: SqliteDatabase.Database;
} {
  const database = new SqliteDatabase(newPath());
  database.pragma("page_size = 4096");
  database.pragma("journal_mode = WAL");
  database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB) STRICT");
  const insert = database.prepare("INSERT INTO t VALUES (?, ?)");
  database.transaction(() => {
    for (let id = 1; id <= rowCount; id++) insert.run(BigInt(id), randomBytes(3_000));
  })();
  const chain = new ChainRecorder(database, 4_096);
  chain.commit();
  database.prepare("UPDATE t SET v = ? WHERE id = 5").run(randomBytes(3_000));
  chain.commit();
  return { chain, database };
}

async function openHydration(
  chain: ChainRecorder,
): Promise<{ store: CountingStore; source: PageSource; hydration: Hydration; path: string }> {
  const store = new CountingStore(chain.files);
  const source = await PageSource.open({ store, files: chain.files });
  const path = newPath();
  return { store, source, hydration: new Hydration({ source, path }), path };
}

/** Lets everything happen that can happen without another read of the store. */
async function untilWaiting(store: CountingStore, count: number): Promise<void> {
  for (let turn = 0; turn < 10_000 && store.waitingCount !== count; turn++) await setImmediate();
  assert.equal(store.waitingCount, count);
}

const filesOf = (path: string): string[] =>
  readdirSync(directory).filter((name) => join(directory, name).startsWith(path));

describe("hydration", () => {
  it("makes the file that was replicated, which SQLite opens in WAL mode", async () => {
    const { chain, database } = recordLarge(1_000);
    const { hydration, path } = await openHydration(chain);
    writeFileSync(path, "a former file");
    writeFileSync(`${path}-wal`, "with a log that must not be replayed");
    await hydration.run();
    await hydration.close();
    assert.ok(readFileSync(path).equals(chain.database));
    assert.deepEqual(filesOf(path), [path.slice(directory.length + 1)]);
    const opened = Database.open(path);
    assert.equal(opened.pragma("journal_mode"), "wal");
    assert.equal(opened.pragma("integrity_check"), "ok");
    const sum = "SELECT count(*) AS n, hex(v) AS v FROM t WHERE id = 5";
    assert.deepEqual(opened.prepare(sum).get(), database.prepare(sum).get());
    opened.execute("UPDATE t SET v = x'00'");
    opened.close();
  });

  it("makes what SQLite has, whatever happened to the database", async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("insert"), count: fc.nat(60), size: fc.nat(9_000) }),
      fc.record({ kind: fc.constant("delete"), count: fc.nat(80), size: fc.constant(0) }),
      fc.record({ kind: fc.constant("vacuum"), count: fc.constant(0), size: fc.constant(0) }),
    );
    const runs = fc.record({
      pageSizeBytes: fc.constantFrom(512, 4_096, 65_536),
      steps: fc.array(step, { minLength: 1, maxLength: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(runs, async ({ pageSizeBytes, steps }) => {
        const database = new SqliteDatabase(":memory:");
        database.pragma(`page_size = ${pageSizeBytes}`);
        database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)");
        const chain = new ChainRecorder(database, pageSizeBytes);
        chain.commit();
        for (const { kind, count, size } of steps) {
          if (kind === "vacuum") database.exec("VACUUM");
          if (kind === "delete")
            database.prepare("DELETE FROM t WHERE id % 3 = 0 OR id < ?").run(count);
          for (let row = 0; kind === "insert" && row < count; row++) {
            database.prepare("INSERT INTO t (v) VALUES (?)").run(randomBytes(size));
          }
          chain.commit();
        }
        const { hydration, path, source } = await openHydration(chain);
        const remote: Uint8Array[] = [];
        for (let pgno = 1; pgno <= source.pageCount; pgno++)
          remote.push(await hydration.readPage(pgno));
        await hydration.run();
        assert.ok(Buffer.concat(remote).equals(chain.database));
        assert.ok(readFileSync(path).equals(chain.database));
        const local: Uint8Array[] = [];
        for (let pgno = 1; pgno <= source.pageCount; pgno++)
          local.push(await hydration.readPage(pgno));
        assert.ok(Buffer.concat(local).equals(chain.database));
        await hydration.close();
        rmSync(path);
        database.close();
      }),
      { numRuns: 40 },
    );
  });

  it("keeps eight requests going, and four while somebody waits for a page", async () => {
    const { chain } = recordLarge(8_000);
    const { hydration, store, source } = await openHydration(chain);
    store.hold();
    const running = hydration.run();
    await untilWaiting(store, hydrationRequestsCountMax);
    const read = hydration.readPage(4_000);
    assert.equal(store.waitingCount, hydrationRequestsCountMax + 1);
    assert.equal(source.waitingCount, 1);
    // Six are answered, and only two take their place, since somebody waits for a page.
    for (let count = 0; count < 6; count++) store.releaseOne();
    for (let turn = 0; turn < 100_000 && hydration.localCount < 2_000; turn++) await setImmediate();
    assert.ok(hydration.localCount >= 2_000, "six parts were written");
    await untilWaiting(store, hydrationRequestsCountBusy + 1);
    store.release();
    const page = Uint8Array.from(chain.database.subarray(3_999 * 4_096, 4_000 * 4_096));
    assert.deepEqual(await read, page);
    await running;
    await hydration.close();
    assert.ok(store.waitingCountMax <= hydrationRequestsCountMax + 1);
  });

  it("reads a page that is local from the file", async () => {
    const { chain } = recordLarge(2_000);
    const { hydration, store, source } = await openHydration(chain);
    store.hold();
    const running = hydration.run();
    await untilWaiting(store, 6);
    // The first part of the snapshot arrives and nothing else: some hundred pages.
    store.releaseOne();
    for (let turn = 0; turn < 100_000 && hydration.localCount < 200; turn++) await setImmediate();
    assert.ok(hydration.localCount >= 200, "the first part was written");
    const requestCount = store.requests.length;
    const page = Uint8Array.from(chain.database.subarray(99 * 4_096, 100 * 4_096));
    assert.deepEqual(await hydration.readPage(100), page);
    // A page that a later file changed is not the one of this part: what is read is the newer one.
    const changed = source.files[1]?.index.at(0).pgno ?? 0;
    assert.ok(changed > 0 && changed < 200);
    const newer = chain.database.subarray((changed - 1) * 4_096, changed * 4_096);
    assert.deepEqual(await hydration.readPage(changed), Uint8Array.from(newer));
    assert.equal(store.requests.length, requestCount);
    store.release();
    await running;
    await hydration.close();
  });

  it("leaves no file when one is damaged, and is not stopped by what a crash left", async () => {
    const { chain } = recordLarge(500);
    const [snapshot] = chain.files;
    assert.ok(snapshot !== undefined);
    const { hydration, store, path, source } = await openHydration(chain);
    writeFileSync(`${path}.hydrating`, Buffer.alloc(10_000_000, 1));
    const damaged = snapshot.bytes.slice();
    // The file's checksum itself: all pages are right, and nobody can know.
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    store.replace(snapshot.key, damaged);
    await assert.rejects(hydration.run(), { code: "storage_failure", message: /checksum/ });
    assert.deepEqual(filesOf(path), []);
    // The pages that were local for a while are read from the store again.
    assert.deepEqual(
      await hydration.readPage(2),
      Uint8Array.from(chain.database.subarray(4_096, 8_192)),
    );
    store.replace(snapshot.key, snapshot.bytes);
    writeFileSync(`${path}.hydrating`, Buffer.alloc(10_000_000, 1));
    const second = new Hydration({ source, path });
    await second.run();
    await second.close();
    assert.ok(readFileSync(path).equals(chain.database));
  });

  it("notices a file that is another than the one its index came from", async () => {
    const { chain, database } = recordLarge(500);
    database.prepare("UPDATE t SET v = ? WHERE id BETWEEN 200 AND 300").run(randomBytes(3_000));
    chain.commit();
    const large = chain.files.at(-1);
    assert.ok(large !== undefined && large.sizeBytes > 256 * 1_024);
    const { hydration, store, path } = await openHydration(chain);
    const { header, pages } = decodeLtx(large.bytes);
    const moved = [...pages()].map(({ pgno, bytes }) => ({ pgno: pgno + 1, bytes }));
    const other = encodeLtx(header, moved);
    assert.equal(other.length, large.sizeBytes);
    store.replace(large.key, other);
    await assert.rejects(hydration.run(), { code: "storage_failure", message: /their indexes/ });
    assert.equal(existsSync(path), false);
  });

  it("stops when it is closed", async () => {
    const { chain } = recordLarge(2_000);
    const { hydration, store, path } = await openHydration(chain);
    store.hold();
    const running = hydration.run();
    const stopped = assert.rejects(running, /hydration was closed/);
    await untilWaiting(store, 6);
    const closed = hydration.close();
    store.release();
    await closed;
    await stopped;
    assert.deepEqual(filesOf(path), []);
  });
});
