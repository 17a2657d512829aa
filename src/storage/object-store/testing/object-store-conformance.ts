import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { ObjectStore } from "../object-store.ts";

/** What every object store must pass; `open` gives an empty one. */
export function testObjectStore(
  name: string,
  open: (test: TestContext) => Promise<ObjectStore>,
): void {
  void describe(`${name}: reading and writing`, () => testReadsAndWrites(open));
  void describe(`${name}: conditional writes`, () => testConditionalWrites(open));
  void describe(`${name}: files, lists and deletion`, () => testFilesAndLists(open));
}

type Open = (test: TestContext) => Promise<ObjectStore>;

const text = (value: string): Uint8Array => Buffer.from(value);
const read = async (store: ObjectStore, key: string): Promise<string | null> => {
  const bytes = await store.get(key);
  return bytes === null ? null : Buffer.from(bytes).toString();
};
const keysOf = async (store: ObjectStore, prefix: string): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
};

function testReadsAndWrites(open: Open): void {
  void it("gives back what was put, and null for what was not", async (test) => {
    const store = await open(test);
    assert.equal(await store.get("a/b"), null);
    assert.equal(await store.getRange("a/b", 0, 1), null);
    assert.equal(await store.getWithEtag("a/b"), null);
    await store.put("a/b", text("one"));
    assert.equal(await read(store, "a/b"), "one");
    await store.put("a/b", text("two"));
    assert.equal(await read(store, "a/b"), "two");
    assert.equal(await store.get("a"), null, "a prefix is no object");
    assert.equal(await store.get("a/b/c"), null, "an object has nothing below it");
  });

  void it("reads ranges, shorter at the end", async (test) => {
    const store = await open(test);
    await store.put("r", text("0123456789"));
    const range = async (offset: number, length: number): Promise<string> =>
      Buffer.from((await store.getRange("r", offset, length)) ?? []).toString();
    assert.equal(await range(0, 4), "0123");
    assert.equal(await range(7, 10), "789");
    assert.equal(await range(10, 5), "");
  });

  void it("keeps empty and binary objects", async (test) => {
    const store = await open(test);
    await store.put("empty", new Uint8Array());
    assert.deepEqual(Buffer.from((await store.get("empty")) ?? [1]), Buffer.alloc(0));
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256));
    await store.put("binary", bytes);
    assert.ok(bytes.equals((await store.get("binary")) ?? Buffer.alloc(0)));
  });

  void it("rejects malformed keys without touching anything", async (test) => {
    const store = await open(test);
    const bad = ["", "/", "/etc/passwd", "a//b", "a/", "../x", "a/../b", "a/./b", ".drafts/x"];
    for (const key of [
      ...bad,
      "a\0b",
      "a b",
      "ü",
      "a\\b",
      "x".repeat(256),
      "y/".repeat(600) + "z",
    ]) {
      const expected = { code: "invalid_request" };
      await assert.rejects(store.put(key, text("x")), expected, key);
      await assert.rejects(store.get(key), expected, key);
      await assert.rejects(store.deleteMany(["fine", key]), expected, key);
    }
    assert.deepEqual(await keysOf(store, ""), []);
  });

  void it("rejects with the signal's reason when aborted", async (test) => {
    const store = await open(test);
    const reason = new Error("no longer wanted");
    const signal = AbortSignal.abort(reason);
    await assert.rejects(store.get("a", { signal }), reason);
    await assert.rejects(store.put("a", text("x"), { signal }), reason);
    assert.equal(await store.get("a"), null);
  });

  void it("counts requests", async (test) => {
    const store = await open(test);
    await store.put("a", text("12345"));
    await store.get("a");
    await store.getRange("a", 1, 2);
    await keysOf(store, "");
    await store.deleteMany(["a"]);
    const { requests, readBytes, writtenBytes } = store.statistics();
    assert.deepEqual(requests, { get: 2, put: 1, list: 1, delete: 1 });
    assert.equal(readBytes, 7);
    assert.equal(writtenBytes, 5);
  });
}

function testConditionalWrites(open: Open): void {
  void it("creates once", async (test) => {
    const store = await open(test);
    assert.equal(await store.putIfAbsent("once/x", text("first")), true);
    assert.equal(await store.putIfAbsent("once/x", text("second")), false);
    assert.equal(await read(store, "once/x"), "first");
  });

  void it("swaps only what was seen", async (test) => {
    const store = await open(test);
    assert.equal(await store.swap("head", text("x"), { etag: "nothing" }), null);
    const first = await store.swap("head", text("one"), { etag: null });
    assert.ok(first);
    assert.equal(await store.swap("head", text("other"), { etag: null }), null);
    const second = await store.swap("head", text("two"), first);
    assert.ok(second);
    assert.equal(await store.swap("head", text("late"), first), null, "an old tag loses");
    const seen = await store.getWithEtag("head");
    assert.equal(Buffer.from(seen?.bytes ?? []).toString(), "two");
    assert.equal(seen?.etag, second.etag);
  });

  void it("lets one of many concurrent swaps win", async (test) => {
    const store = await open(test);
    const seen = await store.swap("head", text("start"), { etag: null });
    assert.ok(seen);
    const tries = Array.from({ length: 20 }, (_, index) =>
      store.swap("head", text(`writer ${index}`), seen),
    );
    const winners = (await Promise.all(tries)).filter((result) => result !== null);
    assert.equal(winners.length, 1);
    assert.equal((await store.getWithEtag("head"))?.etag, winners[0]?.etag);
  });

  void it("lets one of many concurrent creators win", async (test) => {
    const store = await open(test);
    const tries = Array.from({ length: 20 }, (_, index) =>
      store.putIfAbsent("slot", text(`writer ${index}`)),
    );
    assert.equal((await Promise.all(tries)).filter(Boolean).length, 1);
  });
}

function testFilesAndLists(open: Open): void {
  void it("stores a file, again without harm, and never over another", async (test) => {
    const store = await open(test);
    const directory = await mkdtemp(join(tmpdir(), "object-store-file-"));
    test.after(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, "segment");
    await writeFile(file, "segment content");
    await store.putFile("data/3f/segment", file);
    await store.putFile("data/3f/segment", file);
    assert.equal(await read(store, "data/3f/segment"), "segment content");
    await rm(file);
    assert.equal(await read(store, "data/3f/segment"), "segment content");
    await writeFile(file, "other");
    await assert.rejects(store.putFile("data/3f/segment", file), { code: "storage_failure" });
    assert.equal(await read(store, "data/3f/segment"), "segment content");
    await assert.rejects(store.putFile("data/x", join(directory, "none")), {
      code: "storage_failure",
    });
  });

  void it("lists by prefix, in byte order of the keys", async (test) => {
    const store = await open(test);
    const keys = ["a-b/x", "a/1", "a/2/z", "a/2-", "a0", "b", "sprites/1/h", "sprites/10/h"];
    for (const key of keys) await store.put(key, text(key));
    assert.deepEqual(await keysOf(store, ""), keys.toSorted());
    assert.deepEqual(
      await keysOf(store, "a"),
      keys.filter((key) => key.startsWith("a")).toSorted(),
    );
    assert.deepEqual(await keysOf(store, "a/2"), ["a/2-", "a/2/z"]);
    assert.deepEqual(await keysOf(store, "sprites/1/"), ["sprites/1/h"]);
    assert.deepEqual(await keysOf(store, "sprites/1"), ["sprites/1/h", "sprites/10/h"]);
    assert.deepEqual(await keysOf(store, "none/"), []);
    for await (const { key, sizeBytes, modifiedAtMs } of store.list("")) {
      assert.equal(sizeBytes, key.length);
      assert.ok(Math.abs(modifiedAtMs - Date.now()) < 60_000);
    }
  });

  void it("lists what comes after a key, whether or not that key is there", async (test) => {
    const store = await open(test);
    const keys = ["a-b/x", "a/1", "a/2/y", "a/2/z", "a/20", "a/3/q", "a0", "b"];
    for (const key of keys) await store.put(key, text(key));
    for (const startAfter of [...keys, "a/2", "a/2/yy", "a/1/below", "zzz", "+"]) {
      const seen: string[] = [];
      for await (const { key } of store.list("", { startAfter })) seen.push(key);
      assert.deepEqual(seen, keys.filter((key) => key > startAfter).toSorted(), startAfter);
    }
    const seen: string[] = [];
    for await (const { key } of store.list("a/2", { startAfter: "a/2/y" })) seen.push(key);
    assert.deepEqual(seen, ["a/2/z", "a/20"]);
  });

  void it("deletes many, missing ones included", async (test) => {
    const store = await open(test);
    for (const key of ["x/1", "x/2", "y/1", "z"]) await store.put(key, text(key));
    await store.deleteMany([]);
    await store.deleteMany(["x/1", "y/1", "z", "missing", "no/where", "x"]);
    assert.deepEqual(await keysOf(store, ""), ["x/2"]);
  });

  void it("deletes a prefix and not its neighbour", async (test) => {
    const store = await open(test);
    for (const key of ["s/1/a", "s/1/b/c", "s/10/a"]) await store.put(key, text(key));
    await assert.rejects(store.deletePrefix("s/1"), { code: "invalid_request" });
    await assert.rejects(store.deletePrefix(""), { code: "invalid_request" });
    await assert.rejects(store.deletePrefix("../"), { code: "invalid_request" });
    await store.deletePrefix("s/1/");
    await store.deletePrefix("s/1/");
    assert.deepEqual(await keysOf(store, ""), ["s/10/a"]);
    await store.put("s/1/again", text("x"));
    assert.deepEqual(await keysOf(store, "s/1/"), ["s/1/again"]);
  });
}
