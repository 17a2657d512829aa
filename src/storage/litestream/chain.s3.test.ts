/** The promises of a chain against a real S3 server: its conditional writes are what the fence stands on. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeTestBucket, type TestBucket } from "../../testing/radosgw.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { listChain } from "./chain-files.ts";
import { ChainWriter } from "./chain-writer.ts";
import type { CapturedChange } from "./database-replica.ts";
import { claimReplica } from "./replica-owner.ts";
import { databaseNames } from "./restore-missing.ts";
import { restoreDatabase } from "./restore.ts";
import { sampleChain } from "./testing/sample-chain.ts";
import { verifyChain } from "./verify.ts";

const prefix = "orgs/acme.db";
let bucket: TestBucket;
let store: ObjectStore;
let scratch: string;
let states: Uint8Array[];

before(
  async () => {
    bucket = await makeTestBucket();
    store = await openObjectStore(bucket.url, bucket.environment);
    scratch = await mkdtemp(join(tmpdir(), "chain-s3-"));
    states = await sampleChain({ store, path: join(scratch, "acme.db"), beganAtMs: Date.now() });
  },
  { timeout: 120_000 },
);

after(() => rm(scratch, { recursive: true, force: true }));

test("every transaction is restored from S3, byte for byte", async () => {
  for (const [index, state] of states.entries()) {
    const path = join(scratch, `restored-${index}.db`);
    const target = { kind: "txid", txid: index + 1 } as const;
    await restoreDatabase({ store, prefix, target, path });
    assert.deepEqual(new Uint8Array(await readFile(path)), state);
  }
  assert.deepEqual((await verifyChain({ store, prefix })).problems, []);
});

test("of writers that race for the next transaction one wins, each time", async () => {
  const start = { txid: states.length, writer: 7n };
  const files = await listChain(store, prefix);
  const writers = [11n, 12n, 13n, 14n].map((writer) => {
    const position = { ...start, writer };
    return new ChainWriter({ store, prefix, writer, position, files, nowMs: Date.now });
  });
  const outcomes = await Promise.allSettled(writers.map((writer) => writer.ship(nothing())));
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") assert.match(String(outcome.reason), /taken over/);
  }
});

test("of servers that race for a database one becomes its owner", async () => {
  const isServerAlive = async (): Promise<boolean> => true;
  const claims = ["one", "two", "three"].map((server) =>
    claimReplica({ store, prefix: "orgs/raced.db", server, isServerAlive }),
  );
  const outcomes = await Promise.allSettled(claims);
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
});

test("the databases in a bucket are found without listing all of their files", async () => {
  const { list } = store.statistics().requests;
  const names = await databaseNames(store, "orgs");
  assert.deepEqual(names, ["acme.db", "raced.db"]);
  assert.ok(store.statistics().requests.list - list <= 3);
});

function nothing(): CapturedChange {
  const fields = { pageSizeBytes: 4_096, commitPages: 1, isImage: false, pageCount: 0 };
  return { ...fields, pages: () => [] };
}
