import { randomBytes } from "node:crypto";
import { assert, must } from "../../base/assert.ts";
import type { Database, Statement } from "../database.ts";
import type { Attributes } from "./attributes.ts";
import { blockSizeBytes } from "./geometry.ts";
import { segmentIdMax } from "./leaf.ts";
import { garbageCountMax, segmentBatchCount } from "./limits.ts";
import type { ReferenceChanges } from "./references.ts";

const suffixSizeBytes = 6;

export interface NewSegment {
  id: number;
  sizeBytes: number;
}

/** An object that the map names, or did. */
export interface SegmentObject {
  id: number;
  key: string;
  sizeBytes: number;
}

/**
 * The segment table: which objects exist, how many leaf entries name each, and which wait to be
 * deleted.
 *
 * An object's key holds the segment's number and 48 random bits. The number alone would not do:
 * when a machine burns after uploading segments but before their map, the map that is restored from
 * the bucket hands out the same numbers again, while objects of the lost history still lie there.
 * Objects are immutable and never reused, so the two must not share a key.
 */
export class Segments {
  readonly #attributes: Attributes;
  readonly #insert: Statement<[number, Uint8Array, number], never>;
  readonly #change: Statement<[number, number, number], { refs: number; size_bytes: number }>;
  readonly #suffix: Statement<[number], { suffix: Uint8Array }>;
  readonly #queue: Statement<[number, number, number], never>;
  readonly #garbage: Statement<
    [number, number, number],
    { id: number; suffix: Uint8Array; size_bytes: number }
  >;
  readonly #unqueue: Statement<[number], never>;
  readonly #delete: Statement<[number], { size_bytes: number }>;
  readonly #all: Statement<[], { id: number; suffix: Uint8Array; size_bytes: number }>;
  readonly #sparse: Statement<
    [number, number],
    { id: number; suffix: Uint8Array; size_bytes: number; blocks: number }
  >;
  /** Suffixes of segments that were allocated and are not committed; they die with the process. */
  readonly #pendingSuffixes = new Map<number, Uint8Array>();
  #next = 0;
  #reservedEnd = 0;

  constructor(database: Database, attributes: Attributes) {
    this.#attributes = attributes;
    this.#insert = database.prepare(
      "INSERT INTO segment (id, suffix, size_bytes, refs, blocks) VALUES (?, ?, ?, 0, 0)",
    );
    this.#change = database.prepare(
      `UPDATE segment SET refs = refs + ?, blocks = blocks + ? WHERE id = ?
       RETURNING refs, size_bytes`,
    );
    this.#suffix = database.prepare("SELECT suffix FROM segment WHERE id = ?");
    this.#queue = database.prepare(
      "INSERT INTO garbage (segment, queued_at_ms, cut) VALUES (?, ?, ?)",
    );
    this.#garbage = database.prepare(
      `SELECT segment.id, suffix, size_bytes FROM garbage JOIN segment ON segment.id = segment
       WHERE cut <= ? AND queued_at_ms <= ? ORDER BY segment.id LIMIT ?`,
    );
    this.#unqueue = database.prepare("DELETE FROM garbage WHERE segment = ?");
    this.#delete = database.prepare("DELETE FROM segment WHERE id = ? RETURNING size_bytes");
    this.#all = database.prepare("SELECT id, suffix, size_bytes FROM segment ORDER BY id");
    this.#sparse = database.prepare(
      `SELECT id, suffix, size_bytes, blocks FROM segment
       WHERE refs > 0 AND blocks * ${blockSizeBytes} < size_bytes * ? ORDER BY blocks LIMIT ?`,
    );
  }

  /**
   * A number that no segment of this map had or will have. Numbers are reserved in batches, one commit each;
   * what is left of a batch when the process dies is skipped. `reserve` runs its argument in a transaction.
   */
  allocate(reserve: (work: () => void) => void): number {
    if (this.#next === this.#reservedEnd) {
      reserve(() => {
        this.#next = this.#attributes.counter("nextSegment");
        assert(this.#next + segmentBatchCount <= segmentIdMax, "segment numbers are left");
        this.#attributes.setCounter("nextSegment", this.#next + segmentBatchCount);
      });
      this.#reservedEnd = this.#next + segmentBatchCount;
    }
    const id = this.#next++;
    this.#pendingSuffixes.set(id, randomBytes(suffixSizeBytes));
    return id;
  }

  key(id: number): string {
    const suffix = this.#pendingSuffixes.get(id) ?? this.#suffix.get(id)?.suffix;
    return segmentKey(id, must(suffix, `segment ${id} exists`));
  }

  insert(segments: readonly NewSegment[]): void {
    for (const { id, sizeBytes } of segments) {
      const suffix = must(this.#pendingSuffixes.get(id), `segment ${id} was allocated`);
      assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, "segment has a size");
      this.#insert.run(id, suffix, sizeBytes);
      this.#attributes.addToCounter("namedBytes", sizeBytes);
    }
  }

  /** To be called when the transaction that inserted the segments is committed. */
  forgetPending(segments: readonly NewSegment[]): void {
    for (const { id } of segments) this.#pendingSuffixes.delete(id);
  }

  /**
   * Applies what a transaction did to the counters and queues each segment that lost its last name,
   * among them new ones that never got any. `cut` is the first whose metadata no longer names them.
   */
  settle(
    changes: ReferenceChanges,
    options: { inserted: readonly NewSegment[]; cut: number; nowMs: number },
  ): void {
    const unnamed = new Map(options.inserted.map(({ id, sizeBytes }) => [id, sizeBytes]));
    let garbageBytes = 0;
    const queue = (id: number, sizeBytes: number): void => {
      this.#queue.run(id, options.nowMs, options.cut);
      garbageBytes += sizeBytes;
    };
    for (const [id, { refs, blocks }] of changes.bySegment) {
      if (refs === 0 && blocks === 0) continue;
      const row = must(this.#change.get(refs, blocks, id), `segment ${id} has a row`);
      const isNew = unnamed.delete(id);
      // A segment that nothing named is on its way to deletion, so naming it again would lose data.
      assert(isNew || row.refs - refs > 0, `segment ${id} was named before`);
      if (row.refs === 0) queue(id, row.size_bytes);
    }
    for (const [id, sizeBytes] of unnamed) queue(id, sizeBytes);
    this.#attributes.addToCounter("namedBytes", -garbageBytes);
    this.#attributes.addToCounter("garbageBytes", garbageBytes);
  }

  takeGarbage(options: { syncedCut: number; queuedAtMsMax: number }): SegmentObject[] {
    const { syncedCut, queuedAtMsMax } = options;
    return this.#garbage.all(syncedCut, queuedAtMsMax, garbageCountMax).map(toSegmentObject);
  }

  markDeleted(ids: readonly number[]): void {
    let deletedBytes = 0;
    for (const id of ids) {
      // A segment that still has a name has no row here, and so cannot be forgotten.
      if (this.#unqueue.run(id).changes === 0) continue;
      deletedBytes += must(this.#delete.get(id), `segment ${id} has a row`).size_bytes;
    }
    this.#attributes.addToCounter("garbageBytes", -deletedBytes);
  }

  all(): SegmentObject[] {
    return this.#all.all().map(toSegmentObject);
  }

  worthRewriting(options: { liveShareMax: number; countMax: number }): SparseSegment[] {
    return this.#sparse.all(options.liveShareMax, options.countMax).map((row) => ({
      ...toSegmentObject(row),
      liveBytesMax: row.blocks * blockSizeBytes,
    }));
  }
}

export interface SparseSegment extends SegmentObject {
  /** At most so many bytes are in use: a slice that several leaves name is counted for each. */
  liveBytesMax: number;
}

function toSegmentObject(row: {
  id: number;
  suffix: Uint8Array;
  size_bytes: number;
}): SegmentObject {
  return { id: row.id, key: segmentKey(row.id, row.suffix), sizeBytes: row.size_bytes };
}

function segmentKey(id: number, suffix: Uint8Array): string {
  const number = id.toString(16).padStart(8, "0");
  return `data/${number.slice(-2)}/${number}-${Buffer.from(suffix).toString("hex")}`;
}
