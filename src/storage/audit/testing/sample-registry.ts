/** A database as it is in a bucket, for tests of what reads the registry from there. */
import { must } from "../../../base/assert.ts";
import { Database } from "../../database.ts";
import { ChainWriter } from "../../litestream/chain-writer.ts";
import { WalCapture } from "../../litestream/wal-capture.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";

/** Ships the database at `path`, which nobody has open, as `orgs/acme.db`. */
export async function shipRegistry(store: ObjectStore, path: string): Promise<void> {
  const connection = Database.open(path, { isReplicated: true });
  const capture = WalCapture.open({ path, connection, position: null });
  const chain = new ChainWriter({
    ...{ store, prefix: "orgs/acme.db", writer: 7n, position: null, files: [] },
    nowMs: Date.now,
  });
  await chain.ship(must(capture.capture(), "a registry has pages"));
  connection.close();
  capture.close();
}
