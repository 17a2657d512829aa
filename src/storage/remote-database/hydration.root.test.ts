import SqliteDatabase from "better-sqlite3";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { Hydration } from "./hydration.ts";
import { PageSource } from "./page-source.ts";
import { ChainRecorder } from "./testing/chain.ts";
import { CountingStore } from "./testing/counting-store.ts";

it("says that the disk is full, and leaves the pages readable", async (test) => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-hydration-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", directory]);
  test.after(() => {
    execFileSync("umount", [directory]);
    rmdirSync(directory);
  });
  const database = new SqliteDatabase(":memory:");
  database.pragma("page_size = 4096");
  database.exec("CREATE TABLE t (v BLOB); INSERT INTO t VALUES (randomblob(1000000))");
  const chain = new ChainRecorder(database, 4_096);
  chain.commit();
  const store = new CountingStore(chain.files);
  const source = await PageSource.open({ store, files: chain.files });
  const hydration = new Hydration({ source, path: join(directory, "map.db") });
  await assert.rejects(hydration.run(), { code: "disk_full" });
  assert.deepEqual(readdirSync(directory), []);
  const expected = Uint8Array.from(chain.database.subarray(100 * 4_096, 101 * 4_096));
  assert.deepEqual(await hydration.readPage(101), expected);
  await hydration.close();
});
