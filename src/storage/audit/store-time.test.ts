import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { readStoreTime } from "./store-time.ts";

test("the earlier of the two clocks counts, and nothing is left in the store", async () => {
  const store = new MemoryObjectStore({ now: () => 5_000_000 });
  assert.equal(await readStoreTime(store, () => 9_000_000), 5_000_000);
  assert.equal(await readStoreTime(store, () => 4_000_000), 4_000_000);
  for await (const { key } of store.list("")) assert.fail(`${key} is left`);
});
