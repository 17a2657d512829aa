import assert from "node:assert/strict";
import { test } from "node:test";

import { descendantsOf, parseStat } from "./process-tree.ts";

test("a program's name may hold brackets, blanks and a newline", () => {
  assert.deepEqual(parseStat("12 (a) (b\n) S 7 12 12 0"), {
    pid: 12,
    name: "a) (b\n",
    state: "S",
    parentPid: 7,
  });
  assert.equal(parseStat(""), null);
});

test("descendants are found whatever the order of the list", () => {
  const entry = (pid: number, parentPid: number) => ({ pid, parentPid, name: "", state: "S" });
  const processes = [entry(5, 4), entry(4, 2), entry(2, 1), entry(3, 1)];
  assert.deepEqual(
    descendantsOf(2, processes).map(({ pid }) => pid),
    [5, 4, 2],
  );
});
