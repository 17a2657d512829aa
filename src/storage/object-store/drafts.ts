import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { copyBufferSizeBytes, draftAgeMsMax } from "./limits.ts";
import { errorCode, isMissing } from "./store-error.ts";

const trashPrefix = "trash-";

/**
 * Files on their way into the store. They are written and synced under a name that no key can have, then
 * linked or renamed to their key, so that an object is never seen in part. What a killed writer
 * left is swept when the store is next opened.
 */
export class Drafts {
  readonly #directory: string;

  constructor(root: string) {
    this.#directory = join(root, ".drafts");
  }

  /** Makes the directory and sweeps it. */
  async open(now: () => number = Date.now): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      if (name.startsWith(trashPrefix) || (await isOlderThan(path, now() - draftAgeMsMax))) {
        await rm(path, { recursive: true, force: true });
      }
    }
  }

  /** Writes and syncs the bytes, runs `use` with the path, and removes what `use` left. */
  async withBytes<T>(bytes: Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
    return this.#with(async (path) => {
      const file = await open(path, "wx", 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      return use(path);
    });
  }

  /** The same with the content of a file, which is copied in pieces. */
  async withCopy<T>(
    localPath: string,
    signal: AbortSignal | undefined,
    use: (path: string) => Promise<T>,
  ): Promise<T> {
    return this.#with(async (path) => {
      const file = await open(path, "wx", 0o600);
      try {
        const source = createReadStream(localPath, {
          highWaterMark: copyBufferSizeBytes,
          ...(signal && { signal }),
        });
        for await (const piece of source) await file.writeFile(piece as Uint8Array);
        await file.sync();
      } finally {
        await file.close();
      }
      return use(path);
    });
  }

  /** A name to move a directory to before it is deleted; whatever has such a name is swept. */
  trashPath(): string {
    return join(this.#directory, `${trashPrefix}${randomUUID()}`);
  }

  async #with<T>(work: (path: string) => Promise<T>): Promise<T> {
    const path = join(this.#directory, randomUUID());
    try {
      return await work(path);
    } finally {
      await rm(path, { force: true });
    }
  }
}

async function isOlderThan(path: string, timeMs: number): Promise<boolean> {
  try {
    return (await stat(path)).mtimeMs < timeMs;
  } catch (error) {
    // Its writer has finished meanwhile.
    if (isMissing(error) || errorCode(error) === "ESTALE") return false;
    throw error;
  }
}
