import assert from "node:assert/strict";
import { test } from "node:test";
import { quantile, ratioToPeer, rounded, summarize } from "./statistics.ts";

const oneToHundredOne = Array.from({ length: 101 }, (_, index) => 101 - index);

test("quantiles do not depend on the order of the samples", () => {
  assert.equal(quantile(oneToHundredOne, 0.5), 51);
  assert.equal(quantile(oneToHundredOne, 0.99), 100);
  assert.equal(quantile([1, 2], 0.5), 1.5);
  assert.equal(quantile([7], 0.99), 7);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

test("the tail of a time is high, the tail of a rate is low", () => {
  assert.deepEqual(summarize(oneToHundredOne, "ms"), { n: 101, p50: 51, p95: 96, p99: 100 });
  const rate = summarize(oneToHundredOne, "1/s");
  assert.deepEqual([rate.p50, Math.round(rate.p95), Math.round(rate.p99)], [51, 6, 2]);
});

test("a ratio above 1 is better than the peer for times and rates", () => {
  assert.equal(ratioToPeer({ own: 5, peer: 50, unit: "ms" }), 10);
  assert.equal(ratioToPeer({ own: 50, peer: 100, unit: "MB/s" }), 0.5);
});

test("three digits are kept", () => {
  assert.equal(rounded(123_456), 123_000);
  assert.equal(rounded(0.012345), 0.0123);
});
