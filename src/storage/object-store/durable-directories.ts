import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncedDirectoriesMax } from "./limits.ts";

/** Syncs a directory's entries. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * Makes directories below a root so that they survive a power cut. A directory that was found may have been made by
 * another process that has not synced it yet, so the first use by this process syncs the parents in any case.
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
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
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
