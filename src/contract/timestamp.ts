/**
 * Times on the wire: RFC 3339 in UTC with `Z`, and none or exactly three fractional digits, because
 * older Python readers refuse any other number of them (contract.md section 0).
 */

/** Exactly three fractional digits. */
export function formatTimestamp(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** For fields that may be absent: an empty string would fail Go's whole decode, so it is null. */
export function formatOptionalTimestamp(timeMs: number | null): string | null {
  return timeMs === null ? null : formatTimestamp(timeMs);
}
