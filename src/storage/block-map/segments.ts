import { randomBytes } from "node:crypto";
import { assert, must } from "../../base/assert.ts";
import type { Database, Statement } from "../database.ts";
import type { Attributes } from "./attributes.ts";
import { blockSizeBytes } from "./geometry.ts";
import { segmentIdMax } from "./leaf.ts";
import { garbageCountMax } from "./limits.ts";
import type { ReferenceChanges } from "./references.ts";

export const segmentSuffixSizeBytes = 6;

export interface NewSegment {
  id: number;
  sizeBytes: number;
}

/** An object that the map names, or did. */
export interface SegmentObject {
  id: number;
  /** Below the prefix of the volume that owns it. */
  key: string;
  sizeBytes: number;
}

/** Segments that this volume reads and another one owns. */
export interface ForeignSegments {
  /** The owner's prefix in the bucket, such as `sprites/<id>`. */
  owner: string;
  ids: number[];
  sizeBytes: number;
}

interface SegmentRow {
  id: number;
  suffix: Uint8Array;
  size_bytes: number;
}

/**
 * The segment table: which objects exist, how many slices name each, which wait to be deleted, and which
 * belong to another volume: a fork reads its source's segments and never deletes them.
 *
 * An object's key holds the segment's number and 48 random bits. The number alone would not do:
 * when a machine burns after uploading segments but before their map, the map that is restored from
 * the bucket hands out the same numbers again, while objects of the lost history still lie there.
 * Objects are immutable and never reused, so the two must not share a key. So numbers need no
 * reservation either: those that a process gave out and did not commit may be given out again.
 */
export class Segments {
  readonly #attributes: Attributes;
  readonly #insert: Statement<[number, Uint8Array, number], never>;
  readonly #change: Statement<
    [number, number, number],
    { refs: number; size_bytes: number; owner: string }
  >;
  readonly #place: Statement<[number], { suffix: Uint8Array; owner: string }>;
  readonly #queue: Statement<[number, number, number], never>;
  readonly #garbage: Statement<[number, number, number, number], SegmentRow>;
  readonly #isGarbage: Statement<[number], SegmentRow>;
  readonly #unqueue: Statement<[number], never>;
  readonly #delete: Statement<[number], { size_bytes: number }>;
  readonly #own: Statement<[], SegmentRow & { refs: number }>;
  readonly #foreign: Statement<[], { id: number; owner: string; size_bytes: number }>;
  readonly #small: Statement<[number, number], SegmentRow & { blocks: number }>;
  readonly #dropGarbage: Statement<[], never>;
  readonly #dropUnnamed: Statement<[], never>;
  readonly #giveAway: Statement<[string], never>;
  readonly #sparse: Statement<[number, number], SegmentRow & { blocks: number }>;
  /** Suffixes of segments that were allocated and are not committed; they die with the process. */
  readonly #pendingSuffixes = new Map<number, Uint8Array>();
  /** Garbage whose objects are gone, with its sizes; the next change of the map forgets its rows. */
  readonly #deleted = new Map<number, number>();
  #next = 0;

  constructor(database: Database, attributes: Attributes) {
    this.#attributes = attributes;
    this.#insert = database.prepare(
      "INSERT INTO segment (id, suffix, size_bytes, refs, blocks) VALUES (?, ?, ?, 0, 0)",
    );
    this.#change = database.prepare(
      `UPDATE segment SET refs = refs + ?, blocks = blocks + ? WHERE id = ?
       RETURNING refs, size_bytes, owner`,
    );
    this.#place = database.prepare("SELECT suffix, owner FROM segment WHERE id = ?");
    this.#queue = database.prepare(
      "INSERT INTO garbage (segment, queued_at_ms, cut) VALUES (?, ?, ?)",
    );
    this.#garbage = database.prepare(
      `SELECT segment.id, suffix, size_bytes FROM garbage JOIN segment ON segment.id = segment
       WHERE cut <= ? AND queued_at_ms <= ? AND segment.id > ? ORDER BY segment.id LIMIT ?`,
    );
    this.#isGarbage = database.prepare(
      `SELECT segment.id, suffix, size_bytes FROM garbage JOIN segment ON segment.id = segment
       WHERE segment = ?`,
    );
    this.#unqueue = database.prepare("DELETE FROM garbage WHERE segment = ?");
    this.#delete = database.prepare("DELETE FROM segment WHERE id = ? RETURNING size_bytes");
    this.#own = database.prepare(
      "SELECT id, suffix, size_bytes, refs FROM segment WHERE owner = '' ORDER BY id",
    );
    this.#foreign = database.prepare(
      "SELECT id, owner, size_bytes FROM segment WHERE owner <> '' ORDER BY owner, id",
    );
    this.#small = database.prepare(
      `SELECT id, suffix, size_bytes, blocks FROM segment WHERE refs > 0 AND owner = ''
         AND size_bytes <= ? ORDER BY id LIMIT ?`,
    );
    this.#dropGarbage = database.prepare("DELETE FROM garbage");
    this.#dropUnnamed = database.prepare("DELETE FROM segment WHERE refs = 0");
    this.#giveAway = database.prepare("UPDATE segment SET owner = ? WHERE owner = ''");
    this.#sparse = database.prepare(
      `SELECT id, suffix, size_bytes, blocks FROM segment WHERE refs > 0 AND owner = ''
         AND blocks * ${blockSizeBytes} < size_bytes * ? ORDER BY blocks LIMIT ?`,
    );
  }

  /** A number that no segment of this map has. */
  allocate(): number {
    this.#next ||= this.#attributes.counter("nextSegment");
    assert(this.#next < segmentIdMax, "segment numbers are left");
    const id = this.#next++;
    this.#pendingSuffixes.set(id, randomBytes(segmentSuffixSizeBytes));
    return id;
  }

  /** The object's key below its owner's prefix. */
  key(id: number): string {
    const pending = this.#pendingSuffixes.get(id);
    return segmentKey(id, pending ?? this.#mustPlace(id).suffix);
  }

  /** The prefix of the volume that owns the segment; empty for this one. */
  owner(id: number): string {
    return this.#pendingSuffixes.has(id) ? "" : this.#mustPlace(id).owner;
  }

  #mustPlace(id: number): { suffix: Uint8Array; owner: string } {
    return must(this.#place.get(id), `segment ${id} exists`);
  }

  insert(segments: readonly NewSegment[]): void {
    let namedBytes = 0;
    for (const { id, sizeBytes } of segments) {
      const suffix = must(this.#pendingSuffixes.get(id), `segment ${id} was allocated`);
      assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, "segment has a size");
      this.#insert.run(id, suffix, sizeBytes);
      namedBytes += sizeBytes;
    }
    if (segments.length === 0) return;
    this.#attributes.addToCounter("namedBytes", namedBytes);
    this.#attributes.setCounter("nextSegment", this.#next);
  }

  /**
   * Applies what a transaction did to the counters. A segment that lost its last name is queued as garbage,
   * among them new ones that never got any; `cut` is the first whose metadata no longer names them. One of
   * another owner is just forgotten.
   */
  settle(
    changes: ReferenceChanges,
    options: { inserted: readonly NewSegment[]; cut: number; nowMs: number },
  ): void {
    const unnamed = new Map(options.inserted.map(({ id, sizeBytes }) => [id, sizeBytes]));
    let [garbageBytes, foreignBytes] = [0, 0];
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
      if (row.refs !== 0) continue;
      if (row.owner === "") {
        queue(id, row.size_bytes);
      } else {
        foreignBytes += row.size_bytes;
        this.#delete.get(id);
      }
    }
    for (const [id, sizeBytes] of unnamed) queue(id, sizeBytes);
    this.#attributes.addToCounter("namedBytes", -garbageBytes);
    this.#attributes.addToCounter("garbageBytes", garbageBytes);
    this.#attributes.addToCounter("foreignBytes", -foreignBytes);
    this.#forgetDeleted();
  }

  /** To be called when the transaction that inserted the segments and settled is committed. */
  committed(inserted: readonly NewSegment[]): void {
    for (const { id } of inserted) this.#pendingSuffixes.delete(id);
    this.#deleted.clear();
  }

  takeGarbage(options: {
    syncedCut: number;
    queuedAtMsMax: number;
    afterId: number;
  }): SegmentObject[] {
    const { syncedCut, queuedAtMsMax, afterId } = options;
    const countMax = garbageCountMax + this.#deleted.size;
    const rows = this.#garbage.all(syncedCut, queuedAtMsMax, afterId, countMax);
    return rows
      .filter(({ id }) => !this.#deleted.has(id))
      .slice(0, garbageCountMax)
      .map(toSegmentObject);
  }

  /**
   * The objects are gone. Nothing is written for that alone: the rows go with the next change. If that is never
   * made, a later process deletes the objects once more.
   */
  markDeleted(ids: readonly number[]): void {
    for (const id of ids) {
      // A segment that still has a name is no garbage, and so cannot be forgotten.
      const row = this.#isGarbage.get(id);
      if (row !== undefined) this.#deleted.set(id, row.size_bytes);
    }
  }

  #forgetDeleted(): void {
    let deletedBytes = 0;
    for (const [id, sizeBytes] of this.#deleted) {
      this.#unqueue.run(id);
      this.#delete.get(id);
      deletedBytes += sizeBytes;
    }
    this.#attributes.addToCounter("garbageBytes", -deletedBytes);
  }

  /** Bytes of garbage whose objects are still there. */
  get garbageBytes(): number {
    let bytes = this.#attributes.counter("garbageBytes");
    for (const sizeBytes of this.#deleted.values()) bytes -= sizeBytes;
    return bytes;
  }

  /** This volume's own segments. */
  own(): (SegmentObject & { isGarbage: boolean })[] {
    return this.#own
      .all()
      .filter(({ id }) => !this.#deleted.has(id))
      .map((row) => ({ ...toSegmentObject(row), isGarbage: row.refs === 0 }));
  }

  foreign(): ForeignSegments[] {
    const byOwner = new Map<string, ForeignSegments>();
    for (const { id, owner, size_bytes } of this.#foreign.iterate()) {
      const found = byOwner.get(owner) ?? { owner, ids: [], sizeBytes: 0 };
      found.ids.push(id);
      found.sizeBytes += size_bytes;
      byOwner.set(owner, found);
    }
    return [...byOwner.values()];
  }

  /** Makes another volume the owner of all that is this one's; what is garbage there is no concern here. */
  giveAway(owner: string): void {
    assert(owner !== "", "an owner has a prefix");
    this.#dropGarbage.run();
    this.#dropUnnamed.run();
    this.#giveAway.run(owner);
    this.#attributes.addToCounter("foreignBytes", this.#attributes.counter("namedBytes"));
    this.#attributes.setCounter("namedBytes", 0);
    this.#attributes.setCounter("garbageBytes", 0);
  }

  worthRewriting(options: { liveShareMax: number; countMax: number }): SparseSegment[] {
    return this.#sparse.all(options.liveShareMax, options.countMax).map(toSparseSegment);
  }

  worthMerging(options: { sizeBytesMax: number; countMax: number }): SparseSegment[] {
    return this.#small.all(options.sizeBytesMax, options.countMax).map(toSparseSegment);
  }
}

export interface SparseSegment extends SegmentObject {
  /** At most so many bytes are in use: a block that several leaves name is counted for each. */
  liveBytesMax: number;
}

function toSparseSegment(row: SegmentRow & { blocks: number }): SparseSegment {
  return { ...toSegmentObject(row), liveBytesMax: row.blocks * blockSizeBytes };
}

function toSegmentObject(row: SegmentRow): SegmentObject {
  return { id: row.id, key: segmentKey(row.id, row.suffix), sizeBytes: row.size_bytes };
}

/** The object's key, below the prefix of its owner. */
export function segmentKey(id: number, suffix: Uint8Array): string {
  const number = id.toString(16).padStart(8, "0");
  return `data/${number.slice(-2)}/${number}-${Buffer.from(suffix).toString("hex")}`;
}
