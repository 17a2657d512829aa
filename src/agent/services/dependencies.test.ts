import assert from "node:assert/strict";
import { test } from "node:test";

import { circleThrough, dependentsOf, startOrder } from "./dependencies.ts";

function services(needs: Record<string, string[]>): Map<string, { name: string; needs: string[] }> {
  return new Map(Object.entries(needs).map(([name, list]) => [name, { name, needs: list }]));
}

test("what is needed comes first, and nothing twice", () => {
  const all = services({ web: ["api", "cache"], api: ["db"], cache: [], db: [], other: [] });
  assert.deepEqual(startOrder(all, ["web"]), ["db", "api", "cache", "web"]);
  assert.deepEqual(startOrder(all, all.keys()), ["db", "api", "cache", "web", "other"]);
  assert.deepEqual(startOrder(services({ a: ["gone"] }), ["a", "unknown"]), ["a"]);
});

test("a circle ends, and is named", () => {
  const all = services({ a: ["b"], b: ["c"], c: ["a"], d: ["a"], e: ["e"] });
  assert.deepEqual(startOrder(all, ["a"]).toSorted(), ["a", "b", "c"]);
  assert.deepEqual(circleThrough(all, "a"), ["a", "b", "c", "a"]);
  assert.equal(circleThrough(all, "d"), null);
  assert.deepEqual(circleThrough(all, "e"), ["e", "e"]);
});

test("those that need one", () => {
  const all = services({ a: ["b"], b: [], c: ["b", "a"] });
  assert.deepEqual(dependentsOf(all.values(), "b"), ["a", "c"]);
});
