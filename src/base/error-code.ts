/** The code of a system's or a library's error, such as `ENOENT`; null for what has none. */
export function errorCode(error: unknown): string | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}
