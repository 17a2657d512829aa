import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncDirectory } from "../local-files.ts";
import { syncedDirectoriesMax } from "./limits.ts";
import { errorCode } from "./store-error.ts";

/**
 * Makes directories below a root so that they survive a power cut. A directory that was found may
 * have been made by another process that has not synced it yet, so the first use by this process
 * syncs the parents in any case.
 */
export class DurableDirectories {
  readonly #root: string;
  readonly #synced = new Set<string>();

  constructor(root: string) {
    this.#root = root;
  }

  /** @param relative path below the root, without empty names; "" is the root */
  async ensure(relative: string): Promise<string> {
    const path = join(this.#root, relative);
    if (relative === "" || this.#synced.has(relative)) return path;
    await this.ensure(parentOf(relative));
    await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
      if (errorCode(error) !== "EEXIST") throw error;
    });
    await syncDirectory(dirname(path));
    if (this.#synced.size >= syncedDirectoriesMax) this.#synced.clear();
    this.#synced.add(relative);
    return path;
  }

  /** Somebody deleted the directory, or one above it. */
  forget(relative: string): void {
    for (let path = relative; path !== ""; path = parentOf(path)) this.#synced.delete(path);
  }

  forgetAll(): void {
    this.#synced.clear();
  }
}

function parentOf(relative: string): string {
  const slash = relative.lastIndexOf("/");
  return slash < 0 ? "" : relative.slice(0, slash);
}
