import { assert, must } from "../../base/assert.ts";
import type { Database, Statement } from "../database.ts";
import type { Attributes } from "./attributes.ts";
import { countBlocks } from "./block-mask.ts";
import { unitsPerLeaf } from "./geometry.ts";
import { changeLayout, isSameLayout, liveBlocks } from "./layout.ts";
import { Leaf } from "./leaf.ts";
import type { ReferenceChanges } from "./references.ts";
import { liveFileId } from "./schema.ts";
import type { LeafRewrite, LeafUnit, LiveUnit, UnitChange, UnitLayout } from "./types.ts";

/** A part of a search: at most `count` leaves behind `after`. */
export interface LeafPart {
  after: number;
  count: number;
}

/** What a part of a search found; `last` is what the next part comes after, null when there is none. */
export interface Found<Unit> {
  units: Unit[];
  last: number | null;
}

interface StoredLeaf {
  id: number;
  generation: number;
  data: Uint8Array;
}

interface RootRow {
  leaf_index: number;
  leaf: number;
}

/**
 * Files as trees of two levels: root rows name leaves, and clones share leaves until one is
 * changed.
 *
 * Who may change a leaf in place: every clone ends the current generation. A leaf of the current
 * generation was made after the last clone, so only the live file can name it. An older one is
 * looked up in the other files' roots; a leaf keeps its index in every file, so that is one key
 * lookup a file, newest first, which nearly always ends at the first.
 */
export class FileTree {
  readonly #attributes: Attributes;
  readonly #find: Statement<[number, number], StoredLeaf>;
  readonly #range: Statement<[number, number, number], { leaf_index: number; data: Uint8Array }>;
  readonly #otherNames: Statement<[number, number, number], { one: 1 }>;
  readonly #roots: Statement<[number], RootRow>;
  readonly #setRoot: Statement<[number, number, number], never>;
  readonly #deleteRoot: Statement<[number, number], never>;
  readonly #deleteRoots: Statement<[number], never>;
  readonly #cloneRoots: Statement<[number, number], never>;
  readonly #leaf: Statement<[number], { data: Uint8Array }>;
  readonly #insertLeaf: Statement<[number, Uint8Array], never>;
  readonly #updateLeaf: Statement<[number, Uint8Array, number], never>;
  readonly #leavesAfter: Statement<[number, number], { id: number; data: Uint8Array }>;
  readonly #liveLeavesAfter: Statement<[number, number], { leaf_index: number; data: Uint8Array }>;
  readonly #rewriteLeaf: Statement<[Uint8Array, number], never>;
  readonly #deleteLeaf: Statement<[number], never>;
  readonly #addUsedBlocks: Statement<[number, number], never>;

  constructor(database: Database, attributes: Attributes) {
    this.#attributes = attributes;
    this.#find = database.prepare(
      `SELECT leaf.id, generation, data FROM root JOIN leaf ON leaf.id = root.leaf
       WHERE root.file = ? AND root.leaf_index = ?`,
    );
    this.#range = database.prepare(
      `SELECT leaf_index, data FROM root JOIN leaf ON leaf.id = root.leaf
       WHERE root.file = ? AND leaf_index BETWEEN ? AND ? ORDER BY leaf_index`,
    );
    // CROSS JOIN fixes the order of the loops: few files outside, one key lookup inside.
    this.#otherNames = database.prepare(
      `SELECT 1 AS one FROM file CROSS JOIN root ON root.file = file.id AND root.leaf_index = ?
       WHERE root.leaf = ? AND file.id <> ? ORDER BY file.id DESC LIMIT 1`,
    );
    this.#roots = database.prepare(
      "SELECT leaf_index, leaf FROM root WHERE file = ? ORDER BY leaf_index",
    );
    this.#setRoot = database.prepare(
      "INSERT OR REPLACE INTO root (file, leaf_index, leaf) VALUES (?, ?, ?)",
    );
    this.#deleteRoot = database.prepare("DELETE FROM root WHERE file = ? AND leaf_index = ?");
    this.#deleteRoots = database.prepare("DELETE FROM root WHERE file = ?");
    this.#cloneRoots = database.prepare(
      `INSERT INTO root (file, leaf_index, leaf)
       SELECT ?, leaf_index, leaf FROM root WHERE file = ? ORDER BY leaf_index`,
    );
    this.#leaf = database.prepare("SELECT data FROM leaf WHERE id = ?");
    this.#insertLeaf = database.prepare("INSERT INTO leaf (generation, data) VALUES (?, ?)");
    this.#updateLeaf = database.prepare("UPDATE leaf SET generation = ?, data = ? WHERE id = ?");
    this.#leavesAfter = database.prepare(
      "SELECT id, data FROM leaf WHERE id > ? ORDER BY id LIMIT ?",
    );
    this.#liveLeavesAfter = database.prepare(
      `SELECT leaf_index, data FROM root JOIN leaf ON leaf.id = root.leaf
       WHERE root.file = ${liveFileId} AND leaf_index > ? ORDER BY leaf_index LIMIT ?`,
    );
    this.#rewriteLeaf = database.prepare("UPDATE leaf SET data = ? WHERE id = ?");
    this.#deleteLeaf = database.prepare("DELETE FROM leaf WHERE id = ?");
    this.#addUsedBlocks = database.prepare(
      "UPDATE file SET used_blocks = used_blocks + ? WHERE id = ?",
    );
  }

  lookup(fileId: number, unit: number): UnitLayout | null {
    const stored = this.#find.get(fileId, Math.floor(unit / unitsPerLeaf));
    return stored === undefined ? null : new Leaf(stored.data).layout(unit % unitsPerLeaf);
  }

  lookupRange(fileId: number, firstUnit: number, count: number): (UnitLayout | null)[] {
    const layouts = Array.from({ length: count }, (): UnitLayout | null => null);
    const firstLeaf = Math.floor(firstUnit / unitsPerLeaf);
    const lastLeaf = Math.floor((firstUnit + count - 1) / unitsPerLeaf);
    for (const { leaf_index, data } of this.#range.iterate(fileId, firstLeaf, lastLeaf)) {
      const leaf = new Leaf(data);
      const start = Math.max(firstUnit, leaf_index * unitsPerLeaf);
      const end = Math.min(firstUnit + count, (leaf_index + 1) * unitsPerLeaf);
      for (let unit = start; unit < end; unit++) {
        layouts[unit - firstUnit] = leaf.layout(unit % unitsPerLeaf);
      }
    }
    return layouts;
  }

  /**
   * Calls back with every unit that the file maps, ascending, of the leaves from `first` to `last`; what it does not
   * map costs nothing.
   */
  forEachUnit(
    fileId: number,
    visit: (unit: number) => void,
    { first, last }: { first: number; last: number },
  ): void {
    for (const { leaf_index, data } of this.#range.iterate(fileId, first, last)) {
      const leaf = new Leaf(data);
      for (let index = 0; index < unitsPerLeaf; index++) {
        if (leaf.isMapped(index)) visit(leaf_index * unitsPerLeaf + index);
      }
    }
  }

  /** Changes units of the live file. */
  change(changes: ReadonlyMap<number, UnitChange>, references: ReferenceChanges): void {
    const units = Float64Array.from(changes.keys()).sort();
    const generation = this.#attributes.counter("generation");
    let usedBlocks = 0;
    for (let start = 0, end = 0; start < units.length; start = end) {
      const leafIndex = Math.floor(unitAt(units, start) / unitsPerLeaf);
      const leafEnd = (leafIndex + 1) * unitsPerLeaf;
      for (end = start; end < units.length && unitAt(units, end) < leafEnd; end++);
      const ofLeaf = units.subarray(start, end);
      usedBlocks += this.#changeLeaf({ leafIndex, generation, units: ofLeaf, changes, references });
    }
    if (usedBlocks !== 0) this.#addUsedBlocks.run(usedBlocks, liveFileId);
  }

  /** Changes units of one leaf; returns by how many blocks the file grew. */
  #changeLeaf(options: {
    leafIndex: number;
    generation: number;
    units: Float64Array;
    changes: ReadonlyMap<number, UnitChange>;
    references: ReferenceChanges;
  }): number {
    const { leafIndex, generation, references } = options;
    const stored = this.#find.get(liveFileId, leafIndex);
    const before = stored === undefined ? Leaf.empty() : new Leaf(stored.data);
    const isShared =
      stored !== undefined &&
      stored.generation !== generation &&
      this.#isNamedElsewhere(leafIndex, stored.id, liveFileId);
    let usedBlocks = 0;
    const layouts = new Map<number, UnitLayout | null>();
    for (const unit of options.units) {
      const index = unit % unitsPerLeaf;
      const old = before.layout(index);
      const layout = changeLayout(old, must(options.changes.get(unit), "the unit has a change"));
      if (old === null && layout === null) continue;
      layouts.set(index, layout);
      usedBlocks += countBlocks(liveBlocks(layout)) - countBlocks(liveBlocks(old));
      // Names in a shared leaf stay where they are; the copy's are counted below as a whole.
      if (isShared) continue;
      references.addLayout(old, -1);
      references.addLayout(layout, 1);
    }
    if (layouts.size === 0) return 0;
    const leaf = before.with(layouts);
    if (isShared) references.addLeaf(leaf, 1);
    this.#storeLeaf({ leafIndex, generation, leaf, idInPlace: isShared ? null : stored?.id });
    return usedBlocks;
  }

  #storeLeaf(options: {
    leafIndex: number;
    generation: number;
    leaf: Leaf;
    /** The leaf to overwrite; null or undefined makes a new one. */
    idInPlace: number | null | undefined;
  }): void {
    const { leafIndex, generation, idInPlace } = options;
    const { data } = options.leaf;
    if (options.leaf.isEmpty) {
      this.#deleteRoot.run(liveFileId, leafIndex);
      if (idInPlace) this.#deleteLeaf.run(idInPlace);
    } else if (idInPlace) {
      this.#updateLeaf.run(generation, data, idInPlace);
    } else {
      const { lastInsertRowid } = this.#insertLeaf.run(generation, data);
      this.#setRoot.run(liveFileId, leafIndex, Number(lastInsertRowid));
    }
  }

  /** Units in the segments, in any leaf. */
  findUnitsIn(segments: ReadonlySet<number>, part: LeafPart): Found<LeafUnit> {
    const units: LeafUnit[] = [];
    const rows = this.#leavesAfter.all(part.after, part.count);
    for (const { id, data } of rows) {
      const leaf = new Leaf(data);
      const found = new Set<number>();
      leaf.forEachSlice((index, segment) => {
        if (segments.has(segment)) found.add(index);
      });
      for (const index of found) units.push({ leaf: id, index, layout: mappedLayout(leaf, index) });
    }
    return { units, last: rows.at(-1)?.id ?? null };
  }

  /** Units of the live file in so many slices or more. */
  findFragmented(slicesMin: number, part: LeafPart): Found<LiveUnit> {
    const units: LiveUnit[] = [];
    const rows = this.#liveLeavesAfter.all(part.after, part.count);
    for (const { leaf_index, data } of rows) {
      const leaf = new Leaf(data);
      const slices = new Uint8Array(unitsPerLeaf);
      leaf.forEachSlice((index) => {
        const count = (slices[index] ?? 0) + 1;
        slices[index] = count;
        if (count !== slicesMin) return;
        units.push({ unit: leaf_index * unitsPerLeaf + index, layout: mappedLayout(leaf, index) });
      });
    }
    return { units, last: rows.at(-1)?.leaf_index ?? null };
  }

  /**
   * Makes units name the same content elsewhere, in leaves of whatever files: one that several share is
   * changed once for all. What has changed since it was found stays as it is.
   */
  rewrite(rewrites: readonly LeafRewrite[], references: ReferenceChanges): void {
    const byLeaf = Map.groupBy(rewrites, ({ leaf }) => leaf);
    for (const [id, ofLeaf] of byLeaf) {
      const row = this.#leaf.get(id);
      if (row === undefined) continue;
      const leaf = new Leaf(row.data);
      const changes = new Map<number, UnitLayout>();
      for (const { index, layout, to } of ofLeaf.toSorted((a, b) => a.index - b.index)) {
        if (!isSameLayout(leaf.layout(index), layout)) continue;
        assert(liveBlocks(to) === liveBlocks(layout), "a rewrite keeps all blocks");
        references.addLayout(layout, -1);
        references.addLayout(to, 1);
        changes.set(index, to);
      }
      if (changes.size > 0) this.#rewriteLeaf.run(leaf.with(changes).data, id);
    }
  }

  /** Makes an empty file name all leaves of another, which are shared from now on. */
  clone(options: { from: number; to: number }): void {
    this.#cloneRoots.run(options.to, options.from);
    this.#attributes.addToCounter("generation", 1);
  }

  /** Makes the live file equal to another; returns the units that differed, ascending. */
  replaceLive(fileId: number, references: ReferenceChanges): Uint32Array {
    const live = new Map(this.#roots.all(liveFileId).map((row) => [row.leaf_index, row.leaf]));
    const wanted = new Map(this.#roots.all(fileId).map((row) => [row.leaf_index, row.leaf]));
    const indexes = [...new Set([...live.keys(), ...wanted.keys()])].sort((a, b) => a - b);
    const differing: number[] = [];
    for (const leafIndex of indexes) {
      const oldId = live.get(leafIndex);
      const newId = wanted.get(leafIndex);
      if (oldId === newId) continue;
      const oldLeaf = oldId === undefined ? Leaf.empty() : this.#readLeaf(oldId);
      const newLeaf = newId === undefined ? Leaf.empty() : this.#readLeaf(newId);
      for (let index = 0; index < unitsPerLeaf; index++) {
        if (!oldLeaf.isSameEntry(newLeaf, index)) differing.push(leafIndex * unitsPerLeaf + index);
      }
      if (oldId !== undefined) this.#release(liveFileId, leafIndex, oldId, oldLeaf, references);
      if (newId === undefined) this.#deleteRoot.run(liveFileId, leafIndex);
      else this.#setRoot.run(liveFileId, leafIndex, newId);
    }
    this.#attributes.addToCounter("generation", 1);
    return Uint32Array.from(differing);
  }

  /** Takes a file's root rows away, and the leaves that no other file names. */
  drop(fileId: number, references: ReferenceChanges): void {
    for (const { leaf_index, leaf } of this.#roots.all(fileId)) {
      this.#release(fileId, leaf_index, leaf, null, references);
    }
    this.#deleteRoots.run(fileId);
  }

  /** Deletes a leaf that `fileId` stops naming, unless another file names it. */
  #release(
    fileId: number,
    leafIndex: number,
    id: number,
    leaf: Leaf | null,
    references: ReferenceChanges,
  ): void {
    if (this.#isNamedElsewhere(leafIndex, id, fileId)) return;
    references.addLeaf(leaf ?? this.#readLeaf(id), -1);
    this.#deleteLeaf.run(id);
  }

  #isNamedElsewhere(leafIndex: number, leafId: number, fileId: number): boolean {
    return this.#otherNames.get(leafIndex, leafId, fileId) !== undefined;
  }

  #readLeaf(id: number): Leaf {
    return new Leaf(must(this.#leaf.get(id), `leaf ${id} exists`).data);
  }
}

function mappedLayout(leaf: Leaf, index: number): UnitLayout {
  return must(leaf.layout(index), "the unit is mapped");
}

function unitAt(units: Float64Array, position: number): number {
  return must(units[position], "position is in range");
}
