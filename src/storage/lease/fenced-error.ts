import { SpriteError } from "../../contract/errors.ts";

/**
 * Another writer has taken over: nothing of ours may go there any more. `isFenced` in its details tells it
 * from other failures, also on another thread.
 */
export class FencedError extends SpriteError {
  constructor() {
    super("storage_failure", "another writer has taken over this volume in the bucket", {
      details: { isFenced: true },
    });
  }
}

export function isFenced(error: unknown): boolean {
  return error instanceof SpriteError && error.details["isFenced"] === true;
}
