/**
 * Durations as Go writes them (`300ms`, `1m30s`), or a bare number of seconds (contract.md section
 * 0).
 */

const unitMs: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["μs", 1e-3],
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

const textLengthMax = 64;
const bareNumber = /^\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$/;
const wholeDuration = /^\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
const part = /([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)/g;

/** Milliseconds, which may be a fraction; null when the text is no duration or a negative one. */
export function parseDuration(text: string): number | null {
  if (text.length > textLengthMax) return null;
  if (bareNumber.test(text)) return Number(text) * 1000;
  if (!wholeDuration.test(text)) return null;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(part)) {
    totalMs += Number(amount) * (unitMs.get(unit ?? "") ?? 0);
  }
  return totalMs;
}
