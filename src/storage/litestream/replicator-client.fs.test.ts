import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Database } from "../database.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { ReplicatorClient } from "./replicator-client.ts";
import { restoreDatabase } from "./restore.ts";

test("the thread ships the last change when it is drained, and restores on another machine", async (t) => {
  const { bucket, directory, client, root } = begin(t);
  const first = client("one", directory);
  assert.deepEqual(await first.ready, []);
  const database = Database.open(join(directory, "acme.db"), { create: true });
  database.execute("CREATE TABLE t (body); INSERT INTO t VALUES (1)");
  const bytes = database.serialize();
  database.close();
  await first.drain();

  const path = join(root, "restored.db");
  const store = await openObjectStore(bucket);
  await restoreDatabase({ store, prefix: "orgs/acme.db", target: { kind: "latest" }, path });
  assert.deepEqual(new Uint8Array(readFileSync(path)), new Uint8Array(bytes));

  const elsewhere = join(root, "elsewhere");
  // The first server has no lease here, so it counts as stopped.
  const second = client("two", elsewhere);
  assert.deepEqual(await second.ready, ["acme.db"]);
  await second.drain();
  assert.deepEqual(new Uint8Array(readFileSync(join(elsewhere, "acme.db"))), new Uint8Array(bytes));
});

test("a registry of another history keeps the server from starting, and the error says what to do", async (t) => {
  const { directory, client, root } = begin(t);
  createDatabase(join(directory, "acme.db"));
  const first = client("one", directory);
  await first.ready;
  await first.drain();
  const other = join(root, "other");
  createDatabase(join(other, "acme.db"));
  const second = client("two", other);
  await assert.rejects(second.ready, { code: "conflict", message: /move the local file away/ });
  await second.drain();
});

function createDatabase(path: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  const database = Database.open(path, { create: true });
  database.execute("CREATE TABLE t (body)");
  database.close();
}

function begin(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), "replicator-client-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const bucket = join(root, "bucket");
  const directory = join(root, "orgs");
  mkdirSync(directory);
  const client = (server: string, databases: string): ReplicatorClient =>
    new ReplicatorClient({
      ...{ bucket, directory: databases, prefix: "orgs", server },
      onProblem: (name, problem) => assert.equal(problem, null, name),
      onSkipped: (name) => assert.fail(`${name} was skipped`),
      onCrash: (error) => assert.fail(error),
    });
  return { root, bucket, directory, client };
}
