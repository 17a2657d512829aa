import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { DirectoryObjectStore } from "./directory-object-store.ts";
import type { ObjectStore } from "./object-store.ts";
import { probeObjectStore } from "./probe.ts";
import { MemoryObjectStore } from "./testing/memory-object-store.ts";

/** A store that speaks S3 and takes one of its promises lightly. */
function careless(change: (store: MemoryObjectStore) => Partial<ObjectStore>): ObjectStore {
  const store = new MemoryObjectStore();
  const changes = change(store);
  return new Proxy<ObjectStore>(store, {
    get: (target, name) => {
      const value = changes[name as keyof ObjectStore] ?? target[name as keyof ObjectStore];
      return (value as (...words: unknown[]) => unknown).bind(target);
    },
  });
}

describe("probeObjectStore", () => {
  it("passes a directory within a moment and leaves nothing", async (test) => {
    const directory = await mkdtemp(join(tmpdir(), "object-probe-"));
    test.after(() => rm(directory, { recursive: true, force: true }));
    const store = await DirectoryObjectStore.open(directory);
    await probeObjectStore(store);
    const timesMs: number[] = [];
    for (let run = 0; run < 5; run++) {
      const startMs = performance.now();
      await probeObjectStore(store, { isDirectory: true });
      timesMs.push(performance.now() - startMs);
    }
    // The best of some: other tests use the same disk.
    assert.ok(Math.min(...timesMs) < 50, `${timesMs.join()} ms`);
    test.diagnostic(`briefly in ${Math.min(...timesMs).toFixed(1)} ms`);
    assert.deepEqual(await readdir(directory, { recursive: true }), [".drafts", "probe"]);
  });

  const wrongs: Array<[string, RegExp, (store: MemoryObjectStore) => Partial<ObjectStore>]> = [
    [
      "ignores If-None-Match",
      /of 4 create-only puts to one key 4 succeeded/,
      (store) => ({
        putIfAbsent: async (key, bytes) => {
          await store.put(key, bytes);
          return true;
        },
      }),
    ],
    [
      "ignores If-Match",
      /swap from an old tag succeeded/,
      (store) => ({
        swap: async (key, bytes) => {
          await store.put(key, bytes);
          return { etag: (await store.getWithEtag(key))?.etag ?? "" };
        },
      }),
    ],
    [
      "refuses every tag",
      /swap from the newest tag was refused/,
      (store) => ({
        swap: async (key, bytes, expected) =>
          expected.etag === null ? store.swap(key, bytes, expected) : null,
      }),
    ],
    [
      "checks tags and does not lock",
      /of 4 swaps from one tag 4 succeeded/,
      (store) => ({
        swap: async (key, bytes, expected) => {
          const seen = await store.getWithEtag(key);
          await new Promise((resolve) => setImmediate(resolve));
          if ((seen?.etag ?? null) !== expected.etag) return null;
          await store.put(key, bytes);
          return { etag: (await store.getWithEtag(key))?.etag ?? "" };
        },
      }),
    ],
    [
      "forgets what it was given",
      /read did not see the write/,
      () => ({ put: async () => undefined }),
    ],
    [
      "ignores ranges",
      /ranged read gave other bytes/,
      (store) => ({ getRange: (key) => store.get(key) }),
    ],
    ["lists late", /list did not show/, () => ({ list: async function* list() {} })],
  ];
  for (const [name, message, change] of wrongs) {
    it(`refuses a store that ${name}`, async () => {
      await assert.rejects(probeObjectStore(careless(change)), { code: "bucket_unfit", message });
    });
  }

  it("refuses a file system without links", async () => {
    const store = careless(() => ({ putIfAbsent: async () => true }));
    await assert.rejects(probeObjectStore(store, { isDirectory: true }), { code: "bucket_unfit" });
  });

  it("passes on that the store cannot be asked, which is another thing", async () => {
    const store = new MemoryObjectStore();
    store.faults.setRules([{ fault: { kind: "unavailable" } }]);
    await assert.rejects(probeObjectStore(store), { code: "storage_failure" });
  });
});
