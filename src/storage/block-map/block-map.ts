import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { Database, sidecarPaths } from "../database.ts";
import { syncDirectoryNow } from "../local-files.ts";
import type { CheckpointRecord } from "../volume/volume.ts";
import { Attributes } from "./attributes.ts";
import { Checkpoints, type NewCheckpoint } from "./checkpoints.ts";
import { FileTree, type Found, type LeafPart } from "./file-tree.ts";
import { blockSizeBytes, unitSizeBytes, unitsPerLeaf } from "./geometry.ts";
import { makeFork, type ForkOptions } from "./fork.ts";
import { findProblems } from "./integrity.ts";
import { decodeMapCopy } from "./map-copy.ts";
import { migrateSchema } from "./migration.ts";
import { ReferenceChanges } from "./references.ts";
import { createSchema, liveFileId, verifySchema } from "./schema.ts";
import {
  Segments,
  type ForeignSegments,
  type NewSegment,
  type SegmentObject,
  type SparseSegment,
} from "./segments.ts";
import type { LeafRewrite, LeafUnit, LiveUnit, UnitChange, UnitLayout } from "./types.ts";

export interface BlockMapOptions {
  readOnly?: boolean;
  /** The clock, ms since the epoch: when garbage was queued. */
  now?: () => number;
  /** The log is replicated: nothing folds it but whoever replicates it, through `connection`. */
  isReplicated?: boolean;
}

export interface Cut {
  /** Exactly one more than the last. */
  cut: number;
  /** What it makes of units of the live file, by number. */
  changes: ReadonlyMap<number, UnitChange>;
  /** The segments that this cut made, each from `allocateSegment`, complete and on the local disk. */
  segments: readonly NewSegment[];
  checkpoint?: NewCheckpoint;
  /** Units of any file that this cut stores elsewhere, with the same content. */
  rewrites?: readonly LeafRewrite[];
  /** Stored in the same transaction. */
  attributes?: Readonly<Record<string, string>>;
}

export interface BlockMapStatistics {
  /** Bytes that the live file maps, in whole blocks. */
  usedBytes: number;
  /** Bytes of the segments that the live file or a checkpoint names. */
  bucketBytes: number;
  /** Bytes of segments that nothing names and that are not deleted yet. */
  garbageBytes: number;
  /** Bytes of the segments of other volumes that this one reads. */
  foreignBytes: number;
}

/**
 * Everything about one volume in one SQLite file: which segment holds each unit of the live file
 * and of every checkpoint, which segments exist, and the volume's small values. Each method that
 * changes something is one transaction, on the disk when it returns. Format:
 * docs/formats/block-map.md.
 *
 * `restore`, `deleteCheckpoint` and the setters change the map between cuts. A metadata copy is
 * named by its cut, so they reach the bucket with the next cut, which may be empty; what they make
 * garbage counts as dropped by it.
 */
export class BlockMap {
  readonly liveFileId = liveFileId;
  readonly path: string;
  readonly #database: Database;
  readonly #now: () => number;
  readonly #attributes: Attributes;
  readonly #segments: Segments;
  readonly #tree: FileTree;
  readonly #checkpoints: Checkpoints;

  private constructor(database: Database, now: () => number) {
    this.path = database.path;
    this.#database = database;
    this.#now = now;
    this.#attributes = new Attributes(database);
    this.#segments = new Segments(database, this.#attributes);
    this.#tree = new FileTree(database, this.#attributes);
    this.#checkpoints = new Checkpoints(database, this.#attributes, this.#tree);
  }

  /** @throws SpriteError storage_failure when there is no file, or it is no block map */
  static open(path: string, options: BlockMapOptions = {}): BlockMap {
    const { readOnly = false, isReplicated = false } = options;
    const database = Database.open(path, { readOnly, isReplicated });
    try {
      if (!readOnly) migrateSchema(database);
      verifySchema(database);
      return new BlockMap(database, options.now ?? Date.now);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Makes an empty map; it appears under its name only when it is complete. */
  static create(path: string, options: BlockMapOptions & { sizeBytes: number }): BlockMap {
    const { sizeBytes } = options;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % unitSizeBytes !== 0) {
      throw new SpriteError(
        "invalid_request",
        `volume size ${sizeBytes} is not a multiple of 64 KiB`,
      );
    }
    if (existsSync(path)) throw new SpriteError("already_exists", `block map ${path} exists`);
    const draft = `${path}.new`;
    for (const stale of [draft, ...sidecarPaths(draft), ...sidecarPaths(path)])
      rmSync(stale, { force: true });
    const database = Database.open(draft, { create: true });
    try {
      createSchema(database, { sizeBytes });
    } finally {
      // Closing the last connection folds the log into the file, so that one rename moves the whole.
      database.close();
    }
    renameSync(draft, path);
    syncDirectoryNow(dirname(path));
    return BlockMap.open(path, options);
  }

  /** Writes a map from a copy of format 1, replacing any other. The map must not be open. */
  static async restoreFile(path: string, bytes: Uint8Array): Promise<void> {
    await decodeMapCopy(path, bytes);
  }

  /**
   * Turns the copy of a source's map at `path` into the map of a fork: one file, the live one, and every
   * segment belongs to the source. The map must not be open.
   * @throws SpriteError not_found: there is no such checkpoint; the copy is as it was then
   */
  static makeFork(path: string, options: ForkOptions): void {
    const map = BlockMap.open(path);
    try {
      const parts = {
        database: map.#database,
        attributes: map.#attributes,
        segments: map.#segments,
        checkpoints: map.#checkpoints,
      };
      map.#database.transaction("make fork", () => makeFork(parts, options));
      // Leaves of checkpoints that the fork has not would go to the bucket as free pages.
      map.#database.execute("VACUUM");
    } finally {
      map.close();
    }
  }

  /** For whoever replicates the file: its log, and nothing of its content. */
  get connection(): Database {
    return this.#database;
  }

  close(): void {
    this.#database.close();
  }

  get sizeBytes(): number {
    return this.#attributes.counter("sizeBytes");
  }

  get lastCut(): number {
    return this.#attributes.counter("lastCut");
  }

  /** Where the unit is; null when it is not mapped, and so zeros. */
  lookup(fileId: number, unit: number): UnitLayout | null {
    return this.#database.read("look up unit", () => this.#tree.lookup(fileId, unit));
  }

  lookupRange(fileId: number, firstUnit: number, count: number): (UnitLayout | null)[] {
    assert(count >= 0, "count is not negative");
    return this.#database.read("look up units", () =>
      this.#tree.lookupRange(fileId, firstUnit, count),
    );
  }

  /** Calls back with every unit that the live file maps, ascending; of the whole file, or of a part between two leaves. */
  forEachLiveUnit(visit: (unit: number) => void, part?: { first: number; end: number }): void {
    const { first, end } = part ?? { first: 0, end: this.sizeBytes / unitSizeBytes };
    const leaves = { first: first / unitsPerLeaf, last: Math.ceil(end / unitsPerLeaf) - 1 };
    assert(Number.isInteger(leaves.first), "a part begins with a leaf");
    this.#database.read("look up all units", () =>
      this.#tree.forEachUnit(liveFileId, visit, leaves),
    );
  }

  /** Records a cut; returns the checkpoint if one was asked for. */
  commitCut(options: Cut): CheckpointRecord | null {
    const { cut, changes, segments } = options;
    const unitCount = this.sizeBytes / unitSizeBytes;
    for (const unit of changes.keys()) {
      assert(Number.isInteger(unit) && unit >= 0 && unit < unitCount, "unit is within the volume");
    }
    const checkpointId = this.#database.transaction("commit cut", () => {
      assert(cut === this.lastCut + 1, `cut ${cut} follows the last`);
      this.#segments.insert(segments);
      const references = new ReferenceChanges();
      // Before the changes, so that a leaf which they copy has it too.
      this.#tree.rewrite(options.rewrites ?? [], references);
      this.#tree.change(changes, references);
      this.#segments.settle(references, { inserted: segments, cut, nowMs: this.#now() });
      this.#attributes.setCounter("lastCut", cut);
      for (const [name, value] of Object.entries(options.attributes ?? {})) {
        this.#attributes.set(name, value);
      }
      return options.checkpoint ? this.#checkpoints.create(options.checkpoint, cut) : null;
    });
    this.#segments.committed(segments);
    this.#checkpoints.liveChanged();
    return checkpointId === null ? null : this.getCheckpoint(checkpointId);
  }

  /** A number for a segment to be made. Until a cut commits it, it is known to this process only. */
  allocateSegment(): number {
    return this.#database.read("allocate segment", () => this.#segments.allocate());
  }

  /** The object's key, below the prefix of the volume that owns it. */
  segmentKey(id: number): string {
    return this.#database.read("look up segment", () => this.#segments.key(id));
  }

  /** The prefix of the volume that owns the segment, when that is another one; else an empty string. */
  segmentOwner(id: number): string {
    return this.#database.read("look up segment", () => this.#segments.owner(id));
  }

  /** Every segment of this volume's own that may be in the bucket: what a leak check compares with it. */
  segments(): (SegmentObject & { isGarbage: boolean })[] {
    return this.#database.read("list segments", () => this.#segments.own());
  }

  /** What this volume, a fork, still reads of others: as long as it does, they must keep it. */
  foreignSegments(): ForeignSegments[] {
    return this.#database.read("list foreign segments", () => this.#segments.foreign());
  }

  /** Newest first. */
  listCheckpoints(): CheckpointRecord[] {
    return this.#database.read("list checkpoints", () => this.#checkpoints.list());
  }

  getCheckpoint(id: string): CheckpointRecord | null {
    return this.#database.read("get checkpoint", () => this.#checkpoints.get(id));
  }

  /** The file to look up a checkpoint's units in. @throws SpriteError not_found */
  checkpointFileId(id: string): number {
    return this.#database.read("get checkpoint", () => this.#checkpoints.fileId(id));
  }

  /** The checkpoint that the live file was last made into or restored from. */
  get sourceId(): string | null {
    return this.#database.read("get source", () => this.#checkpoints.liveSourceId);
  }

  /** @throws SpriteError not_found, conflict (the live file descends directly from it) */
  deleteCheckpoint(id: string): void {
    this.#changeBetweenCuts("delete checkpoint", (references) =>
      this.#checkpoints.delete(id, references),
    );
  }

  /**
   * Deletes the automatic checkpoints that restores made more than `olderThanMs` ago; returns their names. The one
   * that the live file descends from directly stays: an undo went back to it.
   */
  expirePreRestore(olderThanMs: number): string[] {
    const expired = this.#database.read("find expired checkpoints", () =>
      this.#checkpoints.expired(this.#now() - olderThanMs),
    );
    for (const id of expired) this.deleteCheckpoint(id);
    return expired;
  }

  /** @throws SpriteError not_found */
  setHealth(id: string, health: CheckpointRecord["health"]): void {
    this.#database.transaction("set checkpoint health", () =>
      this.#checkpoints.setHealth(id, health),
    );
  }

  /**
   * Makes the live file equal to the checkpoint. Returns the units that changed, ascending.
   * @throws SpriteError not_found
   */
  restore(id: string): Uint32Array {
    return this.#changeBetweenCuts("restore checkpoint", (references) =>
      this.#checkpoints.restore(id, references),
    );
  }

  /**
   * Segments that may be deleted from the bucket: nothing names them, for longer than
   * `olderThanMs`, and the metadata without their names is in the bucket. At most 1,000 a call, in the order of
   * their numbers, which are above `afterId`. Delete the objects, then call `markDeleted`, which writes nothing:
   * the next change takes the rows along.
   */
  takeGarbage(options: {
    olderThanMs: number;
    syncedCut: number;
    afterId?: number;
  }): SegmentObject[] {
    const { syncedCut, afterId = 0 } = options;
    const queuedAtMsMax = this.#now() - options.olderThanMs;
    return this.#database.read("take garbage", () =>
      this.#segments.takeGarbage({ syncedCut, queuedAtMsMax, afterId }),
    );
  }

  markDeleted(ids: readonly number[]): void {
    this.#database.read("forget deleted segments", () => this.#segments.markDeleted(ids));
  }

  /** Segments of which at most this share is in use, emptiest first: what a compactor should rewrite. */
  segmentsWorthRewriting(options: { liveShareMax: number; countMax: number }): SparseSegment[] {
    return this.#database.read("find sparse segments", () =>
      this.#segments.worthRewriting(options),
    );
  }

  /** Small segments, oldest first: every cut makes one, and many of them are worth one that is larger. */
  segmentsWorthMerging(options: { sizeBytesMax: number; countMax: number }): SparseSegment[] {
    return this.#database.read("find small segments", () => this.#segments.worthMerging(options));
  }

  /** A part of a search through all leaves, of whatever files, for units in some segments. */
  findUnitsIn(segments: ReadonlySet<number>, part: LeafPart): Found<LeafUnit> {
    return this.#database.read("find units", () => this.#tree.findUnitsIn(segments, part));
  }

  /** A part of a search through the live file for units in as many slices or more. */
  findFragmented(slicesMin: number, part: LeafPart): Found<LiveUnit> {
    return this.#database.read("find units", () => this.#tree.findFragmented(slicesMin, part));
  }

  /** The files that name the leaf: the live one or checkpoints; in each its first unit is the same. Reads all roots. */
  filesOfLeaf(leaf: number): { name: string; firstUnit: number }[] {
    return this.#database.read("find files", () => {
      const files = this.#database.prepare<[number], { name: string; leaf_index: number }>(
        `SELECT name, leaf_index FROM root JOIN file ON file.id = root.file WHERE leaf = ?
         ORDER BY file.id`,
      );
      return files
        .all(leaf)
        .map(({ name, leaf_index }) => ({ name, firstUnit: leaf_index * unitsPerLeaf }));
    });
  }

  get formatted(): boolean {
    return this.#attributes.formatted;
  }

  /** For good: the database itself refuses to unset it. */
  markFormatted(): void {
    this.#database.transaction("mark formatted", () => this.#attributes.markFormatted());
  }

  getAttribute(name: string): string | null {
    return this.#database.read("get attribute", () => this.#attributes.get(name));
  }

  /** @throws SpriteError invalid_request for a name that the map keeps for itself */
  setAttribute(name: string, value: string): void {
    this.#database.transaction("set attribute", () => this.#attributes.set(name, value));
  }

  /** From counters, at no cost. */
  statistics(): BlockMapStatistics {
    return this.#database.read("get statistics", () => ({
      usedBytes: this.#checkpoints.liveUsedBlocks * blockSizeBytes,
      bucketBytes: this.#attributes.counter("namedBytes"),
      garbageBytes: this.#segments.garbageBytes,
      foreignBytes: this.#attributes.counter("foreignBytes"),
    }));
  }

  /** What is wrong with the map, a sentence each; nothing when it is sound. Reads all of it. */
  checkIntegrity(): string[] {
    return this.#database.read("check block map", () => findProblems(this.#database));
  }

  #changeBetweenCuts<T>(what: string, change: (references: ReferenceChanges) => T): T {
    const result = this.#database.transaction(what, () => {
      const references = new ReferenceChanges();
      const changed = change(references);
      const cut = this.lastCut + 1;
      this.#segments.settle(references, { inserted: [], cut, nowMs: this.#now() });
      return changed;
    });
    this.#segments.committed([]);
    return result;
  }
}
