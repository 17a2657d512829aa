import assert from "node:assert/strict";
import { test } from "node:test";
import { measureAmplification, type Workload } from "./testing/write-amplification.ts";

const mebibyte = 2 ** 20;
/** Bytes in the bucket for each byte of a 4 KiB write at a random place, after a second of coalescing (SPECIFICATION.md). */
const amplificationMax = 6;

const workloads: Workload[] = [
  // Every unit is overwritten again and again: the steady state, with units stored whole now and then.
  { workingSetBytes: 16 * mebibyte, writesPerSecond: 200, seconds: 60 },
  // Hardly anything meets: most of what is stored is the map's.
  { workingSetBytes: 64 * mebibyte, writesPerSecond: 10, seconds: 180 },
  // A cut for each write: the segment's header alone is as large as that.
  { workingSetBytes: 16 * mebibyte, writesPerSecond: 1, seconds: 180 },
];

for (const workload of workloads) {
  const { workingSetBytes, writesPerSecond } = workload;
  const name = `${writesPerSecond} a second in ${workingSetBytes / mebibyte} MiB`;
  test(`random writes of 4 KiB cost the bucket little more than they are: ${name}`, async (context) => {
    const { segments, all } = await measureAmplification(workload);
    context.diagnostic(
      `${all.toFixed(2)} bytes for each, ${segments.toFixed(2)} of them in segments`,
    );
    assert.ok(all <= amplificationMax, `${all} bytes for each`);
  });
}
