import { SpriteError } from "../../contract/errors.ts";

/** A SQLite database as numbered pages, wherever they are. */
export interface PageReader {
  readonly pageSizeBytes: number;
  readonly pageCount: number;
  /**
   * The page, which nobody may change.
   * @throws SpriteError storage_failure when it cannot be read, or is damaged
   */
  readPage(pgno: number): Promise<Uint8Array>;
}

export function damagedDatabase(reason: string, cause?: unknown): SpriteError {
  return new SpriteError("storage_failure", `the database is damaged: ${reason}`, { cause });
}
