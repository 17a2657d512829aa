/** Thrown when the program's own logic is wrong; nobody catches it to go on. */
class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** States what must be true. A failure is a bug of ours, never a user's mistake. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Returns the value, which the caller knows to be there. */
export function must<T>(value: T | null | undefined, message: string): T {
  assert(value !== null && value !== undefined, message);
  return value;
}
