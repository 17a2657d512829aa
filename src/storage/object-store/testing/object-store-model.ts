/** Random calls on a store beside a plain map: whatever the order, the store answers as the map says. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { ObjectStore } from "../object-store.ts";

type Call =
  | { kind: "put" | "create"; key: string; value: string }
  | { kind: "swap"; key: string; value: string; expected: "newest" | "older" | "none" }
  | { kind: "get" | "delete"; key: string }
  | { kind: "range"; key: string; offset: number; length: number }
  | { kind: "list"; prefix: string; startAfter: string }
  | { kind: "delete prefix"; prefix: string };

// Few names, so that calls meet.
const key = fc.constantFrom("a/b", "a/c", "a/cc/d", "a-b", "b", "b+x=y@z", "c/d");
const value = fc.string({ unit: "binary-ascii", maxLength: 12 });
const prefix = fc.constantFrom("", "a", "a/", "a/c", "b", "zz");

const call: fc.Arbitrary<Call> = fc.oneof(
  fc.record({ kind: fc.constantFrom("put" as const, "create" as const), key, value }),
  fc.record({
    kind: fc.constant("swap" as const),
    key,
    value,
    expected: fc.constantFrom("newest" as const, "older" as const, "none" as const),
  }),
  fc.record({ kind: fc.constantFrom("get" as const, "delete" as const), key }),
  fc.record({
    kind: fc.constant("range" as const),
    key,
    offset: fc.nat({ max: 14 }),
    length: fc.integer({ min: 1, max: 14 }),
  }),
  fc.record({
    kind: fc.constant("list" as const),
    prefix,
    startAfter: fc.oneof(fc.constant(""), key),
  }),
  fc.record({ kind: fc.constant("delete prefix" as const), prefix: fc.constantFrom("a/", "c/") }),
);

export const storeCalls = fc.array(call, { minLength: 1, maxLength: 40 });

/** Runs the calls on an empty store. @throws AssertionError at the first answer that is not the map's */
export async function runAgainstModel(store: ObjectStore, calls: readonly Call[]): Promise<void> {
  const model = new Map<string, string>();
  /** Tags that were true once, by key. */
  const olderTags = new Map<string, { etag: string; value: string }>();
  for (const each of calls) await step(store, each, { model, olderTags });
  const seen: string[] = [];
  for await (const object of store.list("")) seen.push(object.key);
  assert.deepEqual(seen, [...model.keys()].sort());
}

async function step(
  store: ObjectStore,
  each: Call,
  state: { model: Map<string, string>; olderTags: Map<string, { etag: string; value: string }> },
): Promise<void> {
  const { model } = state;
  switch (each.kind) {
    case "put":
      await store.put(each.key, bytesOf(each.value));
      model.set(each.key, each.value);
      return;
    case "create":
      assert.equal(await store.putIfAbsent(each.key, bytesOf(each.value)), !model.has(each.key));
      if (!model.has(each.key)) model.set(each.key, each.value);
      return;
    case "swap":
      return stepSwap(store, each, state);
    case "get":
      assert.equal(textOf(await store.get(each.key)), model.get(each.key) ?? null);
      return;
    case "delete":
      await store.deleteMany([each.key]);
      model.delete(each.key);
      return;
    case "range": {
      const { offset, length } = each;
      const part = model.get(each.key)?.slice(offset, offset + length) ?? null;
      assert.equal(textOf(await store.getRange(each.key, offset, length)), part);
      return;
    }
    case "list": {
      const seen: string[] = [];
      for await (const object of store.list(each.prefix, each)) seen.push(object.key);
      const isWanted = (name: string): boolean =>
        name.startsWith(each.prefix) && name > each.startAfter;
      assert.deepEqual(seen, [...model.keys()].filter(isWanted).sort());
      return;
    }
    case "delete prefix":
      await store.deletePrefix(each.prefix);
      for (const name of model.keys()) if (name.startsWith(each.prefix)) model.delete(name);
  }
}

async function stepSwap(
  store: ObjectStore,
  { key: name, value: next, expected }: Extract<Call, { kind: "swap" }>,
  { model, olderTags }: Parameters<typeof step>[2],
): Promise<void> {
  const newest = await store.getWithEtag(name);
  const older = olderTags.get(name);
  if (newest !== null) {
    olderTags.set(name, { etag: newest.etag, value: textOf(newest.bytes) ?? "" });
  }
  const current = model.get(name) ?? null;
  const tag = { newest: newest?.etag ?? null, older: older?.etag ?? "never", none: null }[expected];
  // Equal content has an equal tag, so an older tag holds when the old content is back.
  const holds = {
    newest: true,
    older: current !== null && older?.value === current,
    none: current === null,
  }[expected];
  const swapped = await store.swap(name, bytesOf(next), { etag: tag });
  assert.equal(swapped !== null, holds, `swap of ${name} from ${expected}`);
  if (swapped === null) return;
  model.set(name, next);
  assert.equal((await store.getWithEtag(name))?.etag, swapped.etag);
}

function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("latin1");
}
