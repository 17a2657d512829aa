/**
 * Where everything durable lives: objects by key. A directory (directory-object-store.ts) or a bucket (s3/).
 *
 * Promises that every implementation keeps:
 * - An object appears whole or not at all, and is durable when the call that wrote it returns.
 * - `putIfAbsent` and `swap` are decided by the store, correct between any number of processes.
 * - A read sees the newest completed write.
 * - Errors are SpriteErrors: `disk_full` when there is no space, `invalid_request` for a malformed key,
 *   `deadline_exceeded`, else `storage_failure` with the cause. An aborted call rejects with the signal's reason.
 * - A conditional write whose reply was lost is asked about: the store reads the object and compares. So a writer must never write the
 *   same bytes as another to one key, or each takes the other's write for its own. When the store cannot know,
 *   the call rejects with `storage_failure` and `isOutcomeUnknown` (call-scope.ts), also at its deadline.
 */
export interface ObjectStore {
  /** The whole object, or null when there is none. */
  get(key: string, options?: CallOptions): Promise<Uint8Array | null>;
  /** Part of an object; fewer bytes than asked when the object ends earlier; null when there is no object. */
  getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options?: RangeOptions,
  ): Promise<Uint8Array | null>;
  /** The object with the tag that `swap` compares. */
  getWithEtag(key: string, options?: CallOptions): Promise<TaggedObject | null>;
  /** Writes the object, replacing any other. */
  put(key: string, bytes: Uint8Array, options?: CallOptions): Promise<void>;
  /** Creates the object; false when one exists, which stays as it is. */
  putIfAbsent(key: string, bytes: Uint8Array, options?: CallOptions): Promise<boolean>;
  /**
   * Replaces the object only if its tag is still `expected.etag`; null expects that there is none.
   * Returns the new tag, or null when somebody else was faster.
   */
  swap(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options?: CallOptions,
  ): Promise<{ etag: string } | null>;
  /**
   * Stores a local file, which must already be synced and must never be changed afterwards: a directory store
   * links it. Doing it again is fine while the sizes agree; another object of that name is an error.
   */
  putFile(key: string, localPath: string, options?: CallOptions): Promise<void>;
  /** Every object whose key begins with the prefix, in the keys' byte order; only those after `startAfter`, a whole key. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ListedObject>;
  /** Deletes; missing objects are fine. */
  deleteMany(keys: readonly string[], options?: CallOptions): Promise<void>;
  /** Deletes everything below a prefix, which must end in a slash. Nobody may write there meanwhile. */
  deletePrefix(prefix: string, options?: CallOptions): Promise<void>;
  /** Requests made so far, by kind: what an object store bills. */
  statistics(): ObjectStoreStatistics;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** How long the call may take, retries included; a list's deadline counts for each request of its own. */
  deadlineMs?: number | undefined;
}

export interface RangeOptions extends CallOptions {
  /**
   * Memory of at least the length that is asked for, which a store may fill and answer with; it saves an allocation. Nobody else may use it
   * until the call has ended, and after a failed or aborted call nobody may use it again.
   */
  into?: Uint8Array | undefined;
}

export interface ListOptions extends CallOptions {
  /** A key that need not exist. Objects up to and including it are left out. */
  startAfter?: string | undefined;
}

export interface TaggedObject {
  bytes: Uint8Array;
  etag: string;
}

export interface ListedObject {
  key: string;
  sizeBytes: number;
  modifiedAtMs: number;
}

export type RequestKind = "get" | "put" | "list" | "delete";

export interface ObjectStoreStatistics {
  requests: Readonly<Record<RequestKind, number>>;
  readBytes: number;
  writtenBytes: number;
}
