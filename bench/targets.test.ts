import assert from "node:assert/strict";
import { test } from "node:test";
import { rowOf } from "./report.ts";

test("a target is looked up by the row's name or its beginning", () => {
  const targetOf = (name: string): string | null =>
    rowOf({ name, unit: "ms", samples: [1] }).target;
  assert.equal(targetOf("checkpoint_50gb"), "p50 <= 100");
  assert.equal(targetOf("checkpoint_pause_fsync_50gb"), "p99 <= 50");
  assert.equal(targetOf("cold_first_block"), "p50 <= 150");
  assert.equal(targetOf("cold_first_block_from_spawn"), null);
  assert.equal(targetOf("s3backer.seq_read_1m"), null);
});

test("each kind of target is judged by its own figure", () => {
  const isMet = (name: string, samples: number[], peer?: number): boolean | null => {
    const beside = peer === undefined ? {} : { peer: { name: "peer", samples: [peer] } };
    return rowOf({ name, unit: "1/s", samples, ...beside }).met;
  };
  assert.equal(isMet("fsync_local", [900, 1_100, 1_200]), true);
  assert.equal(isMet("fsync_local", [900, 950, 1_200]), false);
  assert.equal(isMet("write_amplification_500_in_64mb", [6.1]), false);
  assert.equal(isMet("disk.fsync_4k", [89], 100), false);
  assert.equal(isMet("disk.fsync_4k", [91], 100), true);
  // Without a peer there is no ratio to reach.
  assert.equal(isMet("disk.fsync_4k", [91]), false);
  const one = Array.from({ length: 99 }, () => 1);
  assert.equal(
    rowOf({ name: "checkpoint_pause", unit: "ms", samples: [...one, 9_000] }).met,
    false,
  );
});
