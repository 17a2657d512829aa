import type { ObjectStore, ObjectStoreStatistics } from "../storage/object-store/object-store.ts";

/** What the stores that the server itself uses have been asked, together. */
export class ServerBucketUses {
  readonly #stores: ObjectStore[] = [];

  of(store: ObjectStore): ObjectStore {
    this.#stores.push(store);
    return store;
  }

  sum(): ObjectStoreStatistics {
    const requests = { get: 0, put: 0, list: 0, delete: 0 };
    const sum = { requests, readBytes: 0, writtenBytes: 0 };
    for (const store of this.#stores) {
      const found = store.statistics();
      for (const kind of ["get", "put", "list", "delete"] as const) {
        requests[kind] += found.requests[kind];
      }
      sum.readBytes += found.readBytes;
      sum.writtenBytes += found.writtenBytes;
    }
    return sum;
  }
}
