/** A small chain, for tests of what is done with chains. */
import assert from "node:assert/strict";
import { Database } from "../../database.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { ChainWriter } from "../chain-writer.ts";
import { WalCapture } from "../wal-capture.ts";

/** Three transactions of `orgs/acme.db`, one, two and three minutes after the time; the database as of each. */
export async function sampleChain(options: {
  store: ObjectStore;
  path: string;
  beganAtMs: number;
}): Promise<Uint8Array[]> {
  const { store, path, beganAtMs } = options;
  const database = Database.open(path, { create: true, isReplicated: true });
  const capture = WalCapture.open({ path, connection: database, position: null });
  let minutes = 0;
  const chain = new ChainWriter({
    ...{ store, prefix: "orgs/acme.db", writer: 7n, position: null, files: [] },
    nowMs: () => beganAtMs + minutes * 60_000,
  });
  const states: Uint8Array[] = [];
  database.execute("CREATE TABLE t (body)");
  for (minutes = 1; minutes <= 3; minutes += 1) {
    database.execute("INSERT INTO t VALUES (randomblob(5000))");
    const change = capture.capture();
    assert.ok(change !== null);
    capture.advance(change, (await chain.ship(change)).txid);
    states.push(new Uint8Array(database.serialize()));
  }
  database.close();
  capture.close();
  return states;
}
