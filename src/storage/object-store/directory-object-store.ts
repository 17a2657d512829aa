import { createHash } from "node:crypto";
import {
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  unlink,
  type FileHandle,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { readUpTo, syncDirectory } from "../local-files.ts";
import { withinDeadline } from "./call-scope.ts";
import { lockDirectory } from "./directory-lock.ts";
import { Drafts } from "./drafts.ts";
import { DurableDirectories } from "./durable-directories.ts";
import { deleteConcurrencyMax, directoryAttemptsMax } from "./limits.ts";
import { checkKey, checkPrefix, isObjectName } from "./object-key.ts";
import type {
  CallOptions,
  ListOptions,
  ListedObject,
  ObjectStore,
  ObjectStoreStatistics,
  RangeOptions,
  RequestKind,
  TaggedObject,
} from "./object-store.ts";
import { errorCode, isMissing, storeError } from "./store-error.ts";

/** Why a link may be refused although a copy would do. */
const linkRefusals: ReadonlySet<string> = new Set(["EXDEV", "EPERM", "EMLINK", "EOPNOTSUPP"]);

/**
 * Objects as files below a directory. Several processes may use it at once, on one machine.
 *
 * - Create-only: link(2) of a synced draft. The kernel lets one of them win.
 * - Replace (`put`) and compare-and-swap (`swap`): rename(2) of a synced draft under the lock of
 *   the key's directory (directory-lock.ts). Deleting takes the lock too, so that nothing changes
 *   between a swap's look and its rename.
 * - Durable: file synced before it gets its name, the directory after. A writer that is killed in
 *   between leaves a draft, which is swept.
 */
export class DirectoryObjectStore implements ObjectStore {
  readonly #root: string;
  readonly #drafts: Drafts;
  readonly #directories: DurableDirectories;
  readonly #requests: Record<RequestKind, number> = { get: 0, put: 0, list: 0, delete: 0 };
  #readBytes = 0;
  #writtenBytes = 0;

  private constructor(root: string) {
    this.#root = root;
    this.#drafts = new Drafts(root);
    this.#directories = new DurableDirectories(root);
  }

  /** Makes the directory when it is missing. */
  static async open(root: string): Promise<DirectoryObjectStore> {
    try {
      const path = resolve(root);
      const store = new DirectoryObjectStore(path);
      const firstMade = await mkdir(path, { recursive: true, mode: 0o700 });
      // Every directory that was made is an entry of its parent, which has to be synced for it.
      for (let made = path; firstMade !== undefined && made.length >= firstMade.length;) {
        made = dirname(made);
        await syncDirectory(made);
      }
      await store.#drafts.open();
      return store;
    } catch (error) {
      throw storeError(`open object store ${root}`, error);
    }
  }

  async get(key: string, options: CallOptions = {}): Promise<Uint8Array | null> {
    checkKey(key);
    return this.#call("get", `get object ${key}`, options, (call) => this.#read(key, call.signal));
  }

  async getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options: RangeOptions = {},
  ): Promise<Uint8Array | null> {
    checkKey(key);
    assert(offsetBytes >= 0 && lengthBytes > 0, "range is not empty");
    return this.#call("get", `get part of object ${key}`, options, async () => {
      const file = await this.#openObject(key);
      if (file === null) return null;
      try {
        const { into } = options;
        const bytes =
          into === undefined
            ? Buffer.allocUnsafe(lengthBytes)
            : Buffer.from(into.buffer, into.byteOffset, lengthBytes);
        const filled = await readUpTo(file, bytes, offsetBytes);
        this.#readBytes += filled;
        return bytes.subarray(0, filled);
      } finally {
        await file.close();
      }
    });
  }

  async getWithEtag(key: string, options: CallOptions = {}): Promise<TaggedObject | null> {
    checkKey(key);
    return this.#call("get", `get object ${key}`, options, async (call) => {
      const bytes = await this.#read(key, call.signal);
      return bytes === null ? null : { bytes, etag: etagOf(bytes) };
    });
  }

  async put(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    await this.#call("put", `put object ${key}`, options, (call) =>
      this.#drafts.withBytes(bytes, (draft) =>
        this.#inDirectoryOf(key, { isLocked: true, ...call }, () => rename(draft, this.#path(key))),
      ),
    );
    this.#writtenBytes += bytes.length;
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<boolean> {
    checkKey(key);
    const isCreated = await this.#call("put", `create object ${key}`, options, (call) =>
      this.#drafts.withBytes(bytes, (draft) => this.#create(key, draft, call)),
    );
    if (isCreated) this.#writtenBytes += bytes.length;
    return isCreated;
  }

  async swap(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options: CallOptions = {},
  ): Promise<{ etag: string } | null> {
    checkKey(key);
    const isSwapped = await this.#call("put", `swap object ${key}`, options, (call) =>
      this.#drafts.withBytes(bytes, (draft) => {
        if (expected.etag === null) return this.#create(key, draft, call);
        return this.#inDirectoryOf(key, { isLocked: true, ...call }, async () => {
          const current = await this.#read(key, call.signal);
          if (current === null || etagOf(current) !== expected.etag) return false;
          await rename(draft, this.#path(key));
          return true;
        });
      }),
    );
    if (!isSwapped) return null;
    this.#writtenBytes += bytes.length;
    return { etag: etagOf(bytes) };
  }

  async putFile(key: string, localPath: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    await this.#call("put", `put file as object ${key}`, options, async (call) => {
      const { size } = await stat(localPath);
      const isCreated =
        (await this.#tryCreateByLink(key, localPath, call)) ??
        (await this.#drafts.withCopy(localPath, call.signal, (draft) =>
          this.#create(key, draft, call),
        ));
      if (isCreated) {
        this.#writtenBytes += size;
        return;
      }
      const existing = await stat(this.#path(key));
      if (!existing.isFile() || existing.size !== size) {
        throw new SpriteError("storage_failure", `object ${key} exists with another size`);
      }
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    checkPrefix(prefix);
    const { startAfter = "" } = options;
    if (startAfter !== "") checkKey(startAfter);
    this.#requests.list++;
    const directory = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    try {
      yield* this.#walk(directory, { prefix, startAfter, signal: options.signal });
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason;
      throw storeError(`list objects ${prefix}`, error);
    }
  }

  async deleteMany(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    if (keys.length === 0) return;
    const byDirectory = [...Map.groupBy(keys, directoryOf).values()];
    await this.#call("delete", "delete objects", options, async ({ signal }) => {
      const worker = async (): Promise<void> => {
        for (let group = byDirectory.pop(); group !== undefined; group = byDirectory.pop()) {
          signal?.throwIfAborted();
          await this.#deleteInOneDirectory(group, signal);
        }
      };
      await Promise.all(Array.from({ length: deleteConcurrencyMax }, worker));
    });
  }

  async deletePrefix(prefix: string, options: CallOptions = {}): Promise<void> {
    checkPrefix(prefix);
    if (!prefix.endsWith("/")) {
      // `sprites/1` would take `sprites/10` along.
      throw new SpriteError("invalid_request", `prefix ${prefix} to delete must end in a slash`);
    }
    await this.#call("delete", `delete objects ${prefix}`, options, async () => {
      const path = join(this.#root, prefix);
      const trash = this.#drafts.trashPath();
      try {
        // One rename takes all of it away at once; a crash leaves only trash.
        await rename(path, trash);
      } catch (error) {
        if (isMissing(error)) return;
        throw error;
      }
      this.#directories.forgetAll();
      await syncDirectory(dirname(path));
      await rm(trash, { recursive: true, force: true });
    });
  }

  statistics(): ObjectStoreStatistics {
    return {
      requests: { ...this.#requests },
      readBytes: this.#readBytes,
      writtenBytes: this.#writtenBytes,
    };
  }

  async #call<T>(
    kind: RequestKind,
    what: string,
    options: CallOptions,
    work: (call: CallOptions) => Promise<T>,
  ): Promise<T> {
    return withinDeadline(what, options, async (call) => {
      this.#requests[kind]++;
      try {
        return await work(call);
      } catch (error) {
        throw storeError(what, error);
      }
    });
  }

  #path(key: string): string {
    return join(this.#root, key);
  }

  async #read(key: string, signal: AbortSignal | undefined): Promise<Uint8Array | null> {
    try {
      const bytes = await readFile(this.#path(key), signal ? { signal } : {});
      this.#readBytes += bytes.length;
      return bytes;
    } catch (error) {
      // EISDIR: other keys lie below this one, and no object has this name.
      if (isMissing(error) || errorCode(error) === "EISDIR") return null;
      throw error;
    }
  }

  async #openObject(key: string): Promise<FileHandle | null> {
    try {
      return await open(this.#path(key), "r");
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  /** Gives a synced file its key; false when the key is taken. */
  async #create(key: string, file: string, options: CallOptions): Promise<boolean> {
    return this.#inDirectoryOf(key, { isLocked: false, ...options }, async () => {
      try {
        await link(file, this.#path(key));
        return true;
      } catch (error) {
        if (errorCode(error) === "EEXIST") return false;
        throw error;
      }
    });
  }

  /** The same with a file that may lie elsewhere; null when it cannot be linked from there. */
  async #tryCreateByLink(
    key: string,
    localPath: string,
    options: CallOptions,
  ): Promise<boolean | null> {
    try {
      return await this.#create(key, localPath, options);
    } catch (error) {
      if (linkRefusals.has(errorCode(error))) return null;
      throw error;
    }
  }

  /** Makes the key's directory, runs the work (under the directory's lock), and syncs the directory. */
  async #inDirectoryOf<T>(
    key: string,
    options: CallOptions & { isLocked: boolean },
    work: () => Promise<T>,
  ): Promise<T> {
    const relative = directoryOf(key);
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt === directoryAttemptsMax;
      const directory = await this.#openDirectory(relative, options);
      if (directory !== null) {
        try {
          const result = await work();
          await directory.sync();
          return result;
        } catch (error) {
          if (isLast || errorCode(error) !== "ENOENT") throw error;
        } finally {
          await directory.close();
        }
      }
      if (isLast) throw new SpriteError("unavailable", `directory of ${key} keeps vanishing`);
      this.#directories.forget(relative);
    }
  }

  async #openDirectory(
    relative: string,
    options: CallOptions & { isLocked: boolean },
  ): Promise<FileHandle | null> {
    try {
      const path = await this.#directories.ensure(relative);
      return options.isLocked ? await lockDirectory(path, options.signal) : await open(path, "r");
    } catch (error) {
      if (errorCode(error) === "ENOENT") return null;
      throw error;
    }
  }

  async #deleteInOneDirectory(
    keys: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const path = join(this.#root, directoryOf(keys[0] ?? ""));
    const directory = await lockDirectory(path, signal);
    if (directory === null) return;
    try {
      for (const key of keys) {
        await unlink(this.#path(key)).catch((error: unknown) => {
          if (!isMissing(error) && errorCode(error) !== "EISDIR") throw error;
        });
      }
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /** In the byte order of whole keys, in which a directory sorts as its name with the slash. */
  async *#walk(
    directory: string,
    wanted: { prefix: string; startAfter: string; signal: AbortSignal | undefined },
  ): AsyncGenerator<ListedObject> {
    const { prefix, startAfter, signal } = wanted;
    signal?.throwIfAborted();
    const keys: string[] = [];
    for (const entry of await readDirectory(join(this.#root, directory))) {
      if (!isObjectName(entry.name)) continue;
      const key = directory + entry.name + (entry.isDirectory() ? "/" : "");
      // The key to start after may lie inside a directory that sorts before it.
      const isOnTheWay = entry.isDirectory() && startAfter.startsWith(key);
      if (key.startsWith(prefix) && (key > startAfter || isOnTheWay)) keys.push(key);
    }
    for (const key of keys.sort()) {
      if (key.endsWith("/")) {
        yield* this.#walk(key, wanted);
        continue;
      }
      signal?.throwIfAborted();
      const status = await stat(this.#path(key)).catch((error: unknown) => {
        if (isMissing(error)) return null;
        throw error;
      });
      if (status === null) continue;
      yield { key, sizeBytes: status.size, modifiedAtMs: status.mtimeMs };
    }
  }
}

/** Of the content, as S3 does: whoever writes unique content can tell its own write from another's. */
function etagOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 32);
}

function directoryOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf("/")));
}

async function readDirectory(path: string): Promise<{ name: string; isDirectory(): boolean }[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
