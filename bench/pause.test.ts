import assert from "node:assert/strict";
import { test } from "node:test";
import { pausesOf } from "./pause.ts";

const steady = Array.from({ length: 100 }, (_, index) => index);

test("the pause is the longest gap that touches the checkpoint, less the usual one", () => {
  const times = [...steady, 130, 131, 132, 190, 191];
  assert.deepEqual(pausesOf(times, [{ startMs: 100, endMs: 120 }]), [30]);
  assert.deepEqual(pausesOf(times, [{ startMs: 131.2, endMs: 131.5 }]), [0]);
  const both = { startMs: 95, endMs: 150 };
  assert.deepEqual(pausesOf(times, [both]), [57]);
});

test("a checkpoint that ends behind the last write is left out", () => {
  assert.deepEqual(pausesOf(steady, [{ startMs: 98, endMs: 200 }]), []);
});
