/** Units of the rows. Times, sizes and factors ("x") are better when small, rates when large. */
export type Unit = "ms" | "MB" | "x" | "MB/s" | "1/s";

export interface Summary {
  n: number;
  p50: number;
  p95: number;
  p99: number;
}

export function isRate(unit: Unit): boolean {
  return unit === "MB/s" || unit === "1/s";
}

/** The tails are the bad ones: of a rate, p95 is what 95 % of the samples reached. */
export function summarize(samples: readonly number[], unit: Unit): Summary {
  const tail = (share: number): number => quantile(samples, isRate(unit) ? 1 - share : share);
  return { n: samples.length, p50: quantile(samples, 0.5), p95: tail(0.95), p99: tail(0.99) };
}

/** Linear between the two nearest samples. */
export function quantile(samples: readonly number[], share: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = samples.toSorted((a, b) => a - b);
  const position = share * (sorted.length - 1);
  const low = Math.floor(position);
  const below = sorted[low] ?? Number.NaN;
  const above = sorted[low + 1] ?? below;
  return below + (above - below) * (position - low);
}

/** 1 = equal to the peer, 2 = twice as good, 0.5 = half as good, whatever the unit. */
export function ratioToPeer(options: { own: number; peer: number; unit: Unit }): number {
  const { own, peer, unit } = options;
  return isRate(unit) ? own / peer : peer / own;
}

/** Three significant digits: more would be noise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
