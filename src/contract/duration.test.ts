import assert from "node:assert/strict";
import test from "node:test";

import { parseDuration } from "./duration.ts";

test("Go's durations and bare seconds are read", () => {
  const cases: Array<[string, number]> = [
    ["0", 0],
    ["0s", 0],
    ["10", 10_000],
    ["1.5", 1500],
    ["300ms", 300],
    ["5s", 5000],
    ["5.0s", 5000],
    ["2.s", 2000],
    [".5s", 500],
    ["1m30s", 90_000],
    ["1h0m0s", 3_600_000],
    ["1h2m3.5s", 3_723_500],
    ["250us", 0.25],
    ["250µs", 0.25],
    ["1000000ns", 1],
    ["+5s", 5000],
  ];
  for (const [text, expectedMs] of cases) {
    assert.ok(Math.abs((parseDuration(text) ?? Number.NaN) - expectedMs) < 1e-9, text);
  }
});

test("what is no duration is refused", () => {
  for (const text of [
    "",
    "s",
    "5 s",
    "-1s",
    "-5",
    "5x",
    "1e3",
    "5s5",
    "NaN",
    "1h-5m",
    ".",
    "9".repeat(65),
  ]) {
    assert.equal(parseDuration(text), null, JSON.stringify(text));
  }
});
