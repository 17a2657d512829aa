/** A store that fails by a seeded plan: before the call, or after it took effect (the answer is lost). */
import { SpriteError } from "../../../contract/errors.ts";
import type {
  CallOptions,
  ListedObject,
  ObjectStore,
  ObjectStoreStatistics,
  TaggedObject,
} from "../../object-store/object-store.ts";

export class FaultyStore implements ObjectStore {
  readonly #store: ObjectStore;
  readonly #random: () => number;
  /** Share of the calls that fail. */
  failureRate = 0;

  constructor(store: ObjectStore, random: () => number) {
    this.#store = store;
    this.#random = random;
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    const isFailing = this.#random() < this.failureRate;
    const isAfter = this.#random() < 0.5;
    if (isFailing && !isAfter) throw new SpriteError("storage_failure", "injected: not done");
    const result = await work();
    if (isFailing) throw new SpriteError("storage_failure", "injected: done, but not answered");
    return result;
  }

  get(key: string, options?: CallOptions): Promise<Uint8Array | null> {
    return this.#call(() => this.#store.get(key, options));
  }

  getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | null> {
    return this.#call(() => this.#store.getRange(key, offsetBytes, lengthBytes, options));
  }

  getWithEtag(key: string, options?: CallOptions): Promise<TaggedObject | null> {
    return this.#call(() => this.#store.getWithEtag(key, options));
  }

  put(key: string, bytes: Uint8Array, options?: CallOptions): Promise<void> {
    return this.#call(() => this.#store.put(key, bytes, options));
  }

  putIfAbsent(key: string, bytes: Uint8Array, options?: CallOptions): Promise<boolean> {
    return this.#call(() => this.#store.putIfAbsent(key, bytes, options));
  }

  swap(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options?: CallOptions,
  ): Promise<{ etag: string } | null> {
    return this.#call(() => this.#store.swap(key, bytes, expected, options));
  }

  putFile(key: string, localPath: string, options?: CallOptions): Promise<void> {
    return this.#call(() => this.#store.putFile(key, localPath, options));
  }

  async *list(prefix: string, options?: CallOptions): AsyncIterable<ListedObject> {
    await this.#call(async () => undefined);
    yield* this.#store.list(prefix, options);
  }

  deleteMany(keys: readonly string[], options?: CallOptions): Promise<void> {
    return this.#call(() => this.#store.deleteMany(keys, options));
  }

  deletePrefix(prefix: string, options?: CallOptions): Promise<void> {
    return this.#call(() => this.#store.deletePrefix(prefix, options));
  }

  statistics(): ObjectStoreStatistics {
    return this.#store.statistics();
  }
}

/** A small seeded generator (mulberry32), so that a failing run can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}
