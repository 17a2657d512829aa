export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value of unknown kind, short enough for a message. */
export function textOf(value: unknown): string {
  return (JSON.stringify(value) ?? "missing").slice(0, 80);
}
