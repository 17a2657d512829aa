/**
 * Brings committed cuts to the bucket: segments first, then the map's copy, then `head.json` by
 * compare-and-swap. At every instant the bucket's head names only what is there. Deletes what no
 * head will name again.
 */
import { createHash } from "node:crypto";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import {
  decodeHead,
  encodeHead,
  headFormatVersion,
  headKey,
  mapCopyKey,
  type Head,
} from "./head.ts";
import { mapCopiesMax, uploadsAtOnceMax } from "./limits.ts";
import { newNonce, ownAttribute } from "./open-map.ts";
import type { Staging } from "./staging.ts";

export interface PublisherOptions {
  store: ObjectStore;
  prefix: string;
  map: BlockMap;
  staging: Staging;
  head: { value: Head; etag: string } | null;
  writer: string;
  graceMs: number;
  nowMs: () => number;
}

/**
 * Another writer has changed the head: nothing of ours may go there any more. `isFenced` in its details
 * tells it from other failures, also on another thread.
 */
export class FencedError extends SpriteError {
  constructor() {
    super("storage_failure", "another writer has taken over this volume in the bucket", {
      details: { isFenced: true },
    });
  }
}

export class Publisher {
  readonly #options: PublisherOptions;
  #head: { value: Head; etag: string } | null;
  /** Keys of the copies in the bucket, oldest first, as far as this process made them or found them. */
  #copies: string[] = [];

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#head = options.head;
    if (options.head !== null) this.#copies.push(options.head.value.map);
  }

  /** The newest cut in the bucket; -1 before the first head. */
  get syncedCut(): number {
    return this.#head?.value.cut ?? -1;
  }

  get syncedAtMs(): number | null {
    return this.#head?.value.writtenAtMs ?? null;
  }

  /**
   * Stores everything that is committed at the time of the call.
   * @throws SpriteError storage_failure, FencedError
   */
  async publish(signal: AbortSignal): Promise<void> {
    const { store, prefix, map, staging, nowMs } = this.#options;
    const nonce = newNonce();
    map.setAttribute(ownAttribute.pendingNonce, nonce);
    const cut = map.lastCut;
    // The copy names the segments that wait now; later cuts may go on while they are uploaded.
    const waiting = staging.waiting();
    const copying = map.serialize();
    copying.catch(() => undefined);
    await this.#upload(waiting, signal);
    const copy = await copying;
    const key = mapCopyKey(cut, nonce);
    await store.put(`${prefix}/${key}`, copy, { signal });
    this.#copies.push(key);
    const head: Head = {
      formatVersion: headFormatVersion,
      cut,
      nonce,
      map: key,
      mapSha256: createHash("sha256").update(copy).digest("hex"),
      mapSizeBytes: copy.length,
      sizeBytes: map.sizeBytes,
      writer: this.#options.writer,
      writtenAtMs: nowMs(),
    };
    this.#head = { value: head, etag: await this.#swapHead(head, signal) };
    map.setAttribute(ownAttribute.lastNonce, nonce);
    await this.#deleteOldCopies(signal);
  }

  async #upload(segments: readonly number[], signal: AbortSignal): Promise<void> {
    const { store, prefix, map, staging } = this.#options;
    const queue = [...segments];
    const work = async (): Promise<void> => {
      for (let segment = queue.shift(); segment !== undefined; segment = queue.shift()) {
        const key = `${prefix}/${map.segmentKey(segment)}`;
        await staging.restoreName(segment);
        await store.putFile(key, staging.path(segment), { signal });
        staging.uploaded(segment);
      }
    };
    await Promise.all(Array.from({ length: uploadsAtOnceMax }, work));
  }

  async #swapHead(head: Head, signal: AbortSignal): Promise<string> {
    const { store, prefix } = this.#options;
    const expected = { etag: this.#head?.etag ?? null };
    const swapped = await store.swap(headKey(prefix), encodeHead(head), expected, { signal });
    if (swapped !== null) return swapped.etag;
    // Refused. An earlier attempt whose answer was lost may have been ours: then that one counts.
    const found = await store.getWithEtag(headKey(prefix), { signal });
    if (found === null) throw new FencedError();
    const value = decodeHead(found.bytes);
    if (value.nonce === head.nonce) return found.etag;
    if (value.writer !== this.#options.writer) throw new FencedError();
    const again = await store.swap(
      headKey(prefix),
      encodeHead(head),
      { etag: found.etag },
      { signal },
    );
    if (again === null) throw new FencedError();
    return again.etag;
  }

  async #deleteOldCopies(signal: AbortSignal): Promise<void> {
    const old = this.#copies.slice(0, -mapCopiesMax);
    if (old.length === 0) return;
    await this.#options.store.deleteMany(
      old.map((key) => `${this.#options.prefix}/${key}`),
      {
        signal,
      },
    );
    this.#copies = this.#copies.slice(-mapCopiesMax);
  }

  /** Deletes segments that the bucket's newest metadata does not name, for longer than the grace. */
  async collectGarbage(signal: AbortSignal): Promise<number> {
    const { store, prefix, map, graceMs } = this.#options;
    if (map.statistics().garbageBytes === 0) return 0;
    const garbage = map.takeGarbage({ olderThanMs: graceMs, syncedCut: this.syncedCut });
    if (garbage.length === 0) return 0;
    await store.deleteMany(
      garbage.map(({ key }) => `${prefix}/${key}`),
      { signal },
    );
    map.markDeleted(garbage.map(({ id }) => id));
    return garbage.length;
  }

  /**
   * Deletes what a crash left in the bucket: old copies of the map, and segments that the map does
   * not know.
   */
  async sweep(signal: AbortSignal): Promise<void> {
    const { store, prefix, map, graceMs, nowMs } = this.#options;
    const known = new Set<string>();
    const orphans: string[] = [];
    const oldest = nowMs() - graceMs;
    // Listed before the map is read: a segment that is uploaded meanwhile is in the map by then.
    const listed: string[] = [];
    for await (const object of store.list(`${prefix}/data/`, { signal })) {
      if (object.modifiedAtMs < oldest) listed.push(object.key);
    }
    for (const { key } of map.segments()) known.add(`${prefix}/${key}`);
    for (const key of listed) if (!known.has(key)) orphans.push(key);
    const kept = new Set(this.#copies.map((key) => `${prefix}/${key}`));
    for await (const object of store.list(`${prefix}/meta/`, { signal })) {
      if (object.modifiedAtMs < oldest && !kept.has(object.key)) orphans.push(object.key);
    }
    if (orphans.length > 0) await store.deleteMany(orphans, { signal });
  }
}
