export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

/** The UTC hours that a span of time lies in, each with its share of it. A span of no length lies in one. */
export function shareByHour(
  fromMs: number,
  untilMs: number,
): Array<{ startMs: number; share: number }> {
  const shares: Array<{ startMs: number; share: number }> = [];
  const lengthMs = untilMs - fromMs;
  for (let startMs = hourOf(fromMs); startMs < untilMs; startMs += hourMs) {
    const overlapMs = Math.min(untilMs, startMs + hourMs) - Math.max(fromMs, startMs);
    shares.push({ startMs, share: overlapMs / lengthMs });
  }
  return shares.length > 0 ? shares : [{ startMs: hourOf(untilMs), share: 1 }];
}

export function hourOf(timeMs: number): number {
  return Math.floor(timeMs / hourMs) * hourMs;
}
