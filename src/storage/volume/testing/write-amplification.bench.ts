import { measureAmplification } from "./write-amplification.ts";

/** Run it by hand: `bin/node24 src/storage/volume/testing/write-amplification.bench.ts`. One JSON object a line. */

const mebibyte = 2 ** 20;
for (const [megabytes, writesPerSecond, seconds, warmUpWrites = 0] of [
  [16, 100, 200],
  [64, 500, 60],
  [64, 50, 600],
  [256, 1_000, 120],
  [128, 10, 300],
  [128, 1, 300],
  // The worst: each write has a leaf of its own, full of slices.
  [1_024, 64, 60, 125_000],
] as const) {
  const workingSetBytes = megabytes * mebibyte;
  const line = await measureAmplification({
    ...{ workingSetBytes, writesPerSecond, seconds, warmUpWrites },
  });
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
