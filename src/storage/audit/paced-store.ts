/** A store to read from at a certain rate, so that who reads it beside is not held up. It cannot be written. */
import { SpriteError } from "../../contract/errors.ts";
import type { LeaseClock } from "../lease/clock.ts";
import type {
  CallOptions,
  ListedObject,
  ListOptions,
  ObjectStore,
  ObjectStoreStatistics,
  TaggedObject,
} from "../object-store/object-store.ts";

export interface PacedStoreOptions {
  store: ObjectStore;
  /** Bytes a second, on the average; Infinity for as fast as it goes. */
  rateBytes: number;
  clock: LeaseClock;
}

export class PacedStore implements ObjectStore {
  readonly #options: PacedStoreOptions;
  /** When what has been read so far may have been, at this rate. */
  #paidUntilMs = -Infinity;
  readBytes = 0;

  constructor(options: PacedStoreOptions) {
    this.#options = options;
  }

  async get(key: string, options?: CallOptions): Promise<Uint8Array | null> {
    return await this.#read(options, async (store) => {
      const bytes = await store.get(key, options);
      return { result: bytes, sizeBytes: bytes?.length ?? 0 };
    });
  }

  async getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | null> {
    return await this.#read(options, async (store) => {
      const bytes = await store.getRange(key, offsetBytes, lengthBytes, options);
      return { result: bytes, sizeBytes: bytes?.length ?? 0 };
    });
  }

  async getWithEtag(key: string, options?: CallOptions): Promise<TaggedObject | null> {
    return await this.#read(options, async (store) => {
      const object = await store.getWithEtag(key, options);
      return { result: object, sizeBytes: object?.bytes.length ?? 0 };
    });
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ListedObject> {
    return this.#options.store.list(prefix, options);
  }

  statistics(): ObjectStoreStatistics {
    return this.#options.store.statistics();
  }

  put(): Promise<void> {
    return refuse();
  }

  putIfAbsent(): Promise<boolean> {
    return refuse();
  }

  swap(): Promise<null> {
    return refuse();
  }

  putFile(): Promise<void> {
    return refuse();
  }

  deleteMany(): Promise<void> {
    return refuse();
  }

  deletePrefix(): Promise<void> {
    return refuse();
  }

  async #read<T>(
    options: CallOptions | undefined,
    read: (store: ObjectStore) => Promise<{ result: T; sizeBytes: number }>,
  ): Promise<T> {
    const { store, rateBytes, clock } = this.#options;
    const waitMs = this.#paidUntilMs - clock.monotonicMs();
    if (waitMs > 0) await clock.wait(waitMs, options?.signal);
    const { result, sizeBytes } = await read(store);
    this.readBytes += sizeBytes;
    const from = Math.max(this.#paidUntilMs, clock.monotonicMs());
    this.#paidUntilMs = from + (sizeBytes / rateBytes) * 1_000;
    return result;
  }
}

function refuse(): Promise<never> {
  return Promise.reject(new SpriteError("internal_error", "this store is only read"));
}
