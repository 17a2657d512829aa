import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isOutcomeUnknown } from "./call-scope.ts";
import type { FaultRule } from "./testing/fault-script.ts";
import { MemoryObjectStore } from "./testing/memory-object-store.ts";
import { testObjectStore } from "./testing/object-store-conformance.ts";

testObjectStore("memory", async () => new MemoryObjectStore());

const text = (value: string): Uint8Array => Buffer.from(value);
const storeWith = (...rules: FaultRule[]): MemoryObjectStore => {
  const store = new MemoryObjectStore({ now: () => 0, random: () => 0 });
  store.faults.setRules(rules);
  return store;
};
const read = async (store: MemoryObjectStore, key: string): Promise<string | null> => {
  const bytes = await store.get(key);
  return bytes && Buffer.from(bytes).toString();
};
const keysOf = async (store: MemoryObjectStore): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  return keys;
};

describe("memory object store, strictness", () => {
  it("keeps its bytes apart from the caller's", async () => {
    const store = storeWith();
    const bytes = Buffer.from("one");
    await store.put("a", bytes);
    bytes.fill("x");
    (await store.get("a"))?.fill(0);
    assert.equal(await read(store, "a"), "one");
  });

  it("gives equal content an equal tag, as S3 does", async () => {
    const store = storeWith();
    const first = await store.swap("a", text("one"), { etag: null });
    assert.ok(first);
    await store.put("a", text("two"));
    assert.equal(await store.swap("a", text("three"), first), null);
    await store.put("a", text("one"));
    assert.ok(await store.swap("a", text("three"), first));
  });
});

describe("memory object store, faults", () => {
  it("refuses with no effect, only what a rule is about, and as often as it says", async () => {
    const store = storeWith({
      fault: { kind: "unavailable" },
      requests: ["put"],
      key: /^a/,
      skip: 1,
      count: 1,
    });
    await store.put("a/1", text("x"));
    await store.put("b", text("x"));
    await assert.rejects(store.putIfAbsent("a/2", text("x")), { code: "storage_failure" });
    await store.put("a/3", text("x"));
    assert.deepEqual(await keysOf(store), ["a/1", "a/3", "b"]);
  });

  it("is out of order for a span of its clock", async () => {
    let nowMs = 0;
    const store = new MemoryObjectStore({ now: () => nowMs });
    store.faults.setRules([{ fault: { kind: "unavailable" }, fromMs: 10, untilMs: 20 }]);
    await store.put("a", text("x"));
    nowMs = 10;
    await assert.rejects(store.get("a"), { code: "storage_failure" });
    nowMs = 20;
    assert.equal(await read(store, "a"), "x");
  });

  it("finds out what became of a write whose reply was lost", async () => {
    const store = storeWith({ fault: { kind: "lost-reply", isReadBack: true }, requests: ["put"] });
    assert.equal(await store.putIfAbsent("a", text("ours")), true);
    assert.equal(await store.putIfAbsent("a", text("theirs")), false);
    const seen = await store.getWithEtag("a");
    assert.ok(await store.swap("a", text("next"), { etag: seen?.etag ?? null }));
    assert.equal(await read(store, "a"), "next");
  });

  it("says that it does not know, done or not", async () => {
    for (const kind of ["lost-reply", "lost-request"] as const) {
      const store = storeWith({ fault: { kind, isReadBack: false }, requests: ["put"] });
      const error = await store.putIfAbsent("a", text("x")).catch((caught: unknown) => caught);
      assert.ok(isOutcomeUnknown(error), kind);
      assert.equal(await read(store, "a"), kind === "lost-reply" ? "x" : null);
    }
  });

  it("does not take a write that may still come for one that was refused, or done", async () => {
    for (const kind of ["lost-request", "late"] as const) {
      const store = storeWith();
      await store.put("a", text("one"));
      await store.put("b", text("one"));
      const before = await store.getWithEtag("b");
      store.faults.setRules([
        { fault: { kind, afterRequests: 2, isReadBack: true }, requests: ["put"], count: 2 },
      ]);
      const put = store.put("a", text("two"));
      assert.ok(isOutcomeUnknown(await put.catch((error: unknown) => error)), kind);
      const swap = store.swap("b", text("three"), { etag: before?.etag ?? null });
      assert.ok(isOutcomeUnknown(await swap.catch((error: unknown) => error)), kind);
    }
  });

  it("delivers a write after a read that did not see it, under its own condition", async () => {
    const store = storeWith({
      fault: { kind: "late", afterRequests: 2 },
      requests: ["put"],
      count: 1,
    });
    assert.ok(isOutcomeUnknown(await store.putIfAbsent("a", text("x")).catch((e: unknown) => e)));
    assert.equal(await read(store, "a"), null);
    assert.equal(await read(store, "a"), "x");
    store.faults.setRules([
      { fault: { kind: "late", afterRequests: 2 }, requests: ["put"], count: 1 },
    ]);
    await assert.rejects(store.putIfAbsent("b", text("x")));
    assert.equal(await store.putIfAbsent("b", text("y")), true);
    store.settle();
    assert.equal(await read(store, "b"), "y", "the late one lost");
  });

  it("delivers a plain write twice, over a newer one", async () => {
    const store = storeWith({
      fault: { kind: "duplicate", afterRequests: 1 },
      requests: ["put"],
      count: 1,
    });
    await store.put("a", text("old"));
    await store.put("a", text("new"));
    assert.equal(await read(store, "a"), "old");
  });

  it("gives up at the deadline by the injected delay, and the write arrives later", async () => {
    const delays: number[] = [];
    const store = new MemoryObjectStore({
      delay: async (delayMs) => void delays.push(delayMs),
    });
    store.faults.setRules([{ fault: { kind: "slow", delayMs: 500 } }]);
    await store.put("a", text("x"));
    await assert.rejects(store.get("a", { deadlineMs: 100 }), { code: "deadline_exceeded" });
    const late = await store
      .putIfAbsent("b", text("x"), { deadlineMs: 100 })
      .catch((e: unknown) => e);
    assert.ok(isOutcomeUnknown(late));
    assert.deepEqual(delays, [500, 100, 100]);
    assert.equal(store.contents().has("b"), false);
    store.settle();
    assert.equal(store.contents().has("b"), true);
  });

  it("cuts bodies and lists short, lists the past, deletes half", async () => {
    const store = storeWith();
    for (const key of ["a", "b", "c", "d"]) await store.put(key, text(key));
    store.faults.setRules([{ fault: { kind: "truncated" }, count: 2 }]);
    await assert.rejects(store.get("a"), { code: "storage_failure" });
    await assert.rejects(keysOf(store), { code: "storage_failure" });
    await store.deleteMany(["a"]);
    store.faults.setRules([{ fault: { kind: "stale-list", changes: 2 } }]);
    assert.deepEqual(await keysOf(store), ["a", "b", "c"]);
    store.faults.setRules([{ fault: { kind: "partial-delete" }, count: 1 }]);
    await assert.rejects(store.deleteMany(["b", "c"]), { code: "storage_failure" });
    assert.deepEqual(await keysOf(store), ["c", "d"]);
  });

  it("does 100,000 requests in a moment", async () => {
    const store = storeWith({ fault: { kind: "unavailable" }, key: /never/ });
    const startMs = performance.now();
    for (let index = 0; index < 50_000; index++) {
      await store.put(`k/${index % 100}`, text("x"));
      await store.get(`k/${index % 100}`);
    }
    assert.ok(performance.now() - startMs < 5_000);
  });
});
