import assert from "node:assert/strict";
import test from "node:test";

import { parseStatusLine } from "./status-lines.ts";

test("the three lines are understood", () => {
  assert.deepEqual(parseStatusLine("ready"), { type: "ready" });
  assert.deepEqual(parseStatusLine("p 42 3"), { type: "started", pid: 42, index: 3 });
  assert.deepEqual(parseStatusLine("p 42 -1"), { type: "started", pid: 42, index: -1 });
  assert.deepEqual(parseStatusLine("x 143"), { type: "exited", code: 143 });
});

test("anything else is not", () => {
  for (const line of [
    "",
    "p",
    "p 0 1",
    "p -1 0",
    "p 1 2 3",
    "x",
    "x 1000",
    "x -1",
    "READY",
    "p 12345678901 0",
  ]) {
    assert.equal(parseStatusLine(line), null, line);
  }
});
