/** Deletes from the bucket what the volume's metadata does not name any more, honouring its forks. */
import type { BlockMap } from "../block-map/block-map.ts";
import type { SegmentObject } from "../block-map/segments.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { pinnedByForks } from "./fork-markers.ts";
import { collectIntervalMs, syncTimesMax } from "./limits.ts";

export interface GarbageOptions {
  store: ObjectStore;
  prefix: string;
  map: BlockMap;
  /**
   * How long segments outlive the metadata that stopped naming them, ms. At least as long as the chain can be
   * restored to a transaction of the past, so that each such state has its segments.
   */
  graceMs: number;
  nowMs: () => number;
}

export class Garbage {
  readonly #options: GarbageOptions;
  /** When cuts reached the bucket, oldest first: what a cut stopped naming is kept for the grace from then on. */
  #syncs: { cut: number; atMs: number }[] = [];
  /** The newest cut that has been in the bucket for the grace time. */
  #oldCut = -1;
  #collectedAtMs = -Infinity;

  constructor(options: GarbageOptions) {
    this.#options = options;
  }

  /** The cut is in the bucket. */
  synced(cut: number): void {
    const last = this.#syncs.at(-1);
    if (last?.cut === cut) return;
    // Forgetting one only keeps its garbage until the next.
    if (this.#syncs.length >= syncTimesMax) this.#syncs.splice(1, 1);
    this.#syncs.push({ cut, atMs: this.#options.nowMs() });
  }

  /** Returns how many segments it deleted. At most 1,000 a call. */
  async collect(signal: AbortSignal): Promise<number> {
    const { store, prefix, map, graceMs, nowMs } = this.#options;
    if (map.statistics().garbageBytes === 0) return 0;
    const now = nowMs();
    const isEarly = now - this.#collectedAtMs < Math.min(graceMs, collectIntervalMs);
    if (isEarly && now >= this.#collectedAtMs) return 0;
    this.#collectedAtMs = now;
    const syncedBeforeMs = now - graceMs;
    while ((this.#syncs[0]?.atMs ?? Infinity) <= syncedBeforeMs) {
      this.#oldCut = this.#syncs.shift()?.cut ?? this.#oldCut;
    }
    const first = this.#due(0);
    if (first.length === 0) return 0;
    // Read after the metadata without these names is in the bucket: a fork that is not seen here reads that.
    const pinned = await pinnedByForks({ store, prefix, signal });
    if (pinned.size === Infinity) return 0;
    let due = first;
    let garbage = due.filter(({ key }) => !pinned.has(key));
    // What forks need stays in the queue, and must not keep the rest from being found.
    while (garbage.length === 0 && due.length > 0) {
      due = this.#due(due.at(-1)?.id ?? 0);
      garbage = due.filter(({ key }) => !pinned.has(key));
    }
    if (garbage.length === 0) return 0;
    await store.deleteMany(
      garbage.map(({ key }) => `${prefix}/${key}`),
      { signal },
    );
    map.markDeleted(garbage.map(({ id }) => id));
    return garbage.length;
  }

  #due(afterId: number): SegmentObject[] {
    const { map, graceMs } = this.#options;
    return map.takeGarbage({ olderThanMs: graceMs, syncedCut: this.#oldCut, afterId });
  }

  /**
   * Deletes segments that a crash left in the bucket: the map does not know them. False when some were spared that
   * look too young, by the bucket's clock and ours: whose own is behind finds them later.
   */
  async sweep(signal: AbortSignal): Promise<boolean> {
    const { store, prefix, map, graceMs, nowMs } = this.#options;
    const oldest = nowMs() - graceMs;
    // Listed before the map is read: a segment that is uploaded meanwhile is in the map by then.
    const listed: string[] = [];
    const young: string[] = [];
    for await (const object of store.list(`${prefix}/data/`, { signal })) {
      const keys = object.modifiedAtMs < oldest ? listed : young;
      keys.push(object.key.slice(prefix.length + 1));
    }
    const known = new Set(map.segments().map(({ key }) => key));
    const isDone = young.every((key) => known.has(key));
    const unknown = listed.filter((key) => !known.has(key));
    if (unknown.length === 0) return isDone;
    const pinned = await pinnedByForks({ store, prefix, signal });
    const orphans = unknown.filter((key) => !pinned.has(key));
    await store.deleteMany(
      orphans.map((key) => `${prefix}/${key}`),
      { signal },
    );
    return isDone;
  }
}
