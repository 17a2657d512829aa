import { randomUUID } from "node:crypto";
import { SpriteError } from "../../contract/errors.ts";
import type { ObjectStore } from "../object-store/object-store.ts";

/**
 * The time by which objects are young or old: that of the store, which dates them. A clock of ours that is
 * ahead would make everything old. Ours counts when it is behind, since then less is old.
 * @throws SpriteError storage_failure: the store takes nothing, or does not list it
 */
export async function readStoreTime(store: ObjectStore, ourNowMs: () => number): Promise<number> {
  const key = `probe/time-${randomUUID()}`;
  await store.put(key, Buffer.from(key));
  try {
    for await (const found of store.list(key)) {
      if (found.key === key) return Math.min(found.modifiedAtMs, ourNowMs());
    }
  } finally {
    await store.deleteMany([key]);
  }
  throw new SpriteError("storage_failure", "the store does not list what was just written");
}
