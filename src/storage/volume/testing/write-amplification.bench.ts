import { measureAmplification } from "./write-amplification.ts";

/** Run it by hand: `bin/node24 src/storage/volume/testing/write-amplification.bench.ts`. One JSON object a line. */

const mebibyte = 2 ** 20;
for (const [megabytes, writesPerSecond, seconds] of [
  [16, 100, 200],
  [64, 500, 100],
  [64, 50, 600],
  [256, 1_000, 120],
  [512, 10, 100],
  [512, 1, 100],
] as const) {
  const workingSetBytes = megabytes * mebibyte;
  const line = await measureAmplification({ workingSetBytes, writesPerSecond, seconds });
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
