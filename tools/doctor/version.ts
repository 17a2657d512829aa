/**
 * Numbers of a version such as 1.2.8, 6.18.44-generic, 1.4.0-rc.3. A release candidate comes before
 * its release.
 */
export interface Version {
  numbers: readonly [number, number, number];
  candidate: number | null;
}

export function parseVersion(text: string): Version | null {
  const match = /(\d+)\.(\d+)(?:\.(\d+))?(?:[-~]?rc\.?(\d+))?/.exec(text);
  if (match === null) return null;
  return {
    numbers: [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)],
    candidate: match[4] === undefined ? null : Number(match[4]),
  };
}

/** Negative when left is older. */
export function compareVersions(left: Version, right: Version): number {
  for (const index of [0, 1, 2] as const) {
    const difference = left.numbers[index] - right.numbers[index];
    if (difference !== 0) return difference;
  }
  return (left.candidate ?? Infinity) === (right.candidate ?? Infinity)
    ? 0
    : (left.candidate ?? Infinity) - (right.candidate ?? Infinity);
}
