import assert from "node:assert/strict";
import { test } from "node:test";

import { SpriteError } from "../../contract/errors.ts";
import { OpenSplices, type Splice } from "./open-splices.ts";

const end = { code: 1001, reason: "gone", error: new SpriteError("not_found", "gone") } as const;

function splice(name: string, ended: string[], kind: Splice["kind"] = "socket"): Splice {
  return { kind, end: () => ended.push(name) };
}

test("a sprite's splices are ended, and no others", () => {
  const splices = new OpenSplices(10);
  const ended: string[] = [];
  splices.add("one", splice("a", ended));
  const remove = splices.add("one", splice("b", ended));
  splices.add("two", splice("c", ended, "answer"));
  remove();
  remove();
  assert.equal(splices.count, 2);
  splices.endSprite("one", end);
  splices.endSprite("none", end);
  assert.deepEqual(ended, ["a"]);
  splices.endSockets(end);
  assert.deepEqual(ended, ["a", "a"]);
  splices.endAll(end);
  assert.deepEqual(ended, ["a", "a", "a", "c"]);
});

test("one sprite cannot have more than the most", () => {
  const splices = new OpenSplices(2);
  const remove = splices.add("one", splice("a", []));
  splices.add("one", splice("b", []));
  assert.throws(
    () => splices.add("one", splice("c", [])),
    (error) => error instanceof SpriteError && error.status === 503,
  );
  splices.add("two", splice("d", []));
  remove();
  splices.add("one", splice("c", []));
});
