import { SpriteError } from "../../contract/errors.ts";

/** The system's error code, such as ENOENT; empty for anything that is not the answer of a system call. */
export function errorCode(error: unknown): string {
  const isFromSystem = error instanceof Error && "code" in error && "syscall" in error;
  return isFromSystem && typeof error.code === "string" ? error.code : "";
}

/** True when the error says that a file, or a directory on its path, is not there. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** What a caller of the store gets to see for an error of the system. */
export function storeError(what: string, error: unknown): Error {
  if (error instanceof SpriteError) return error;
  if (!(error instanceof Error) || errorCode(error) === "") {
    return error instanceof Error ? error : new Error(String(error));
  }
  const code = ["ENOSPC", "EDQUOT"].includes(errorCode(error)) ? "disk_full" : "storage_failure";
  return new SpriteError(code, `${what}: ${error.message}`, { cause: error });
}
