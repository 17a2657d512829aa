/**
 * Finds what should be stored anew, so that the bucket does not fill up with segments of which little is used, nor
 * with many small ones: slices in such segments, of whatever files, and units of the live file in many pieces.
 * Reads them, for the next cut to write. Segments never change, so all of this goes on beside the guest.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { must } from "../../base/assert.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { countBlocks } from "../block-map/block-mask.ts";
import type { Found, LeafPart } from "../block-map/file-tree.ts";
import { blockSizeBytes } from "../block-map/geometry.ts";
import { liveBlocks } from "../block-map/layout.ts";
import {
  collapsedSlicesMin,
  leavesScannedAtOnce,
  rewriteBatchPieces,
  rewriteBytesMax,
  rewriteIntervalMs,
  rewriteLiveShareMax,
  rewriteSegmentsMax,
  smallSegmentBytesMax,
  smallSegmentsMin,
} from "../block-map/limits.ts";
import { packBlocks } from "../block-map/segment.ts";
import type {
  LeafRewrite,
  LeafUnit,
  LiveUnit,
  NewSlice,
  Slice,
  UnitLayout,
} from "../block-map/types.ts";
import type { SegmentReader } from "./segment-reader.ts";

/** Blocks of one unit that are to be stored again, next to each other. */
interface PlannedPiece {
  /** Where they are now. */
  from: UnitLayout;
  /** Which blocks. */
  stored: number;
}

export interface Piece extends PlannedPiece {
  bytes: Uint8Array;
}

/** What the next cut can take along; a later one cannot, since it may find other leaves. */
export interface PreparedRewrite {
  cut: number;
  /** Slices that move, by their `sliceKey`. */
  moved: ReadonlyMap<string, Piece>;
  /** Where the moved slices are named. */
  leafUnits: readonly LeafUnit[];
  /** Units of the live file that get one slice for their many. */
  collapsed: ReadonlyMap<LiveUnit, Piece>;
}

export class Rewriter {
  readonly #map: BlockMap;
  readonly #reader: SegmentReader;
  /** Segments that could not be read: they stay as they are, and whoever scrubs the bucket tells of them. */
  readonly #unreadable = new Set<number>();
  /** Nothing was to be done as of this cut. */
  #idleCut = -1;
  #preparedAtMs: number | null = null;

  constructor(options: { map: BlockMap; reader: SegmentReader }) {
    this.#map = options.map;
    this.#reader = options.reader;
  }

  /** Prepares a little now and then; null in between. The first time only counts as asked. */
  async prepareIfDue(nowMs: number): Promise<PreparedRewrite | null> {
    const before = this.#preparedAtMs;
    if (before !== null && nowMs >= before && nowMs - before < rewriteIntervalMs) return null;
    this.#preparedAtMs = nowMs;
    return before === null ? null : this.prepare({ bytesMax: rewriteBytesMax });
  }

  /**
   * Reads what is worth to be stored again, up to so many bytes. Null when nothing is; then the next call costs
   * nothing until there is another cut.
   */
  async prepare(options: { bytesMax: number }): Promise<PreparedRewrite | null> {
    const { lastCut } = this.#map;
    if (lastCut === this.#idleCut) return null;
    const budget = new Budget(options.bytesMax);
    const { moved, leafUnits } = await this.#findMoves(budget);
    const collapsed = await this.#findCollapses(budget);
    const prepared = {
      cut: lastCut + 1,
      moved: await this.#read(moved),
      leafUnits,
      collapsed: await this.#read(collapsed),
    };
    if (prepared.moved.size > 0 || prepared.collapsed.size > 0) return prepared;
    this.#idleCut = lastCut;
    return null;
  }

  async #findMoves(
    budget: Budget,
  ): Promise<{ moved: Map<string, PlannedPiece>; leafUnits: LeafUnit[] }> {
    const moved = new Map<string, PlannedPiece>();
    const segments = this.#chooseSegments(budget.bytesLeft);
    if (segments.size === 0) return { moved, leafUnits: [] };
    const leafUnits = await searchAll((part) => this.#map.findUnitsIn(segments, part), 0);
    // All that any file takes from a slice goes with it, and every file that names it follows.
    const slices = new Map<string, Slice>();
    for (const slice of leafUnits.flatMap(({ layout }) => layout)) {
      if (!segments.has(slice.segment)) continue;
      const known = slices.get(sliceKey(slice));
      slices.set(sliceKey(slice), { ...slice, live: slice.live | (known?.live ?? 0) });
    }
    for (const [key, slice] of slices) {
      if (budget.take(slice.live)) moved.set(key, { from: [slice], stored: slice.live });
    }
    return { moved, leafUnits };
  }

  /** Sparse segments, emptiest first, then small ones, if they are many; as many as the budget allows. */
  #chooseSegments(bytesMax: number): Set<number> {
    const sparse = this.#map.segmentsWorthRewriting({
      liveShareMax: rewriteLiveShareMax,
      countMax: rewriteSegmentsMax,
    });
    const small = this.#map.segmentsWorthMerging({
      sizeBytesMax: smallSegmentBytesMax,
      countMax: rewriteSegmentsMax,
    });
    if (small.length >= smallSegmentsMin) sparse.push(...small);
    const chosen = new Set<number>();
    let bytes = 0;
    for (const { id, liveBytesMax } of sparse) {
      if (this.#unreadable.has(id) || chosen.has(id)) continue;
      bytes += liveBytesMax;
      if (bytes > bytesMax) break;
      chosen.add(id);
    }
    return chosen;
  }

  async #findCollapses(budget: Budget): Promise<Map<LiveUnit, PlannedPiece>> {
    const planned = new Map<LiveUnit, PlannedPiece>();
    const units = await searchAll((part) => this.#map.findFragmented(collapsedSlicesMin, part), -1);
    for (const unit of units) {
      const stored = liveBlocks(unit.layout);
      const isReadable = unit.layout.every(({ segment }) => !this.#unreadable.has(segment));
      if (isReadable && budget.take(stored)) planned.set(unit, { from: unit.layout, stored });
    }
    return planned;
  }

  async #read<Key>(planned: ReadonlyMap<Key, PlannedPiece>): Promise<Map<Key, Piece>> {
    const read = new Map<Key, Piece>();
    const entries = [...planned];
    for (let start = 0; start < entries.length; start += rewriteBatchPieces) {
      const batch = entries.slice(start, start + rewriteBatchPieces);
      const pieces = await this.#readBatch(batch.map(([, piece]) => piece));
      for (const [key, piece] of batch) {
        const found = pieces.get(piece);
        if (found !== undefined) read.set(key, found);
      }
    }
    return read;
  }

  async #readBatch(batch: readonly PlannedPiece[]): Promise<Map<PlannedPiece, Piece>> {
    const pieces = new Map<PlannedPiece, Piece>();
    try {
      const units = await this.#reader.readUnits(batch.map(({ from }) => from));
      for (const piece of batch) {
        const unit = must(units.get(piece.from), "the piece was read");
        pieces.set(piece, { ...piece, bytes: packBlocks(unit, piece.stored) });
      }
    } catch {
      // What cannot be read stays where it is, named as before: nothing is lost by not moving it.
      if (batch.length === 1) {
        for (const { segment } of batch[0]?.from ?? []) this.#unreadable.add(segment);
      }
      for (const piece of batch.length === 1 ? [] : batch) {
        for (const [key, found] of await this.#readBatch([piece])) pieces.set(key, found);
      }
    }
    return pieces;
  }
}

class Budget {
  bytesLeft: number;

  constructor(bytes: number) {
    this.bytesLeft = bytes;
  }

  take(blocks: number): boolean {
    const sizeBytes = countBlocks(blocks) * blockSizeBytes;
    if (sizeBytes > this.bytesLeft) return false;
    this.bytesLeft -= sizeBytes;
    return true;
  }
}

async function searchAll<Unit>(
  search: (part: LeafPart) => Found<Unit>,
  start: number,
): Promise<Unit[]> {
  const units: Unit[] = [];
  for (let after: number | null = start; after !== null;) {
    const found: Found<Unit> = search({ after, count: leavesScannedAtOnce });
    units.push(...found.units);
    after = found.last;
    await nextTurn();
  }
  return units;
}

/** What the leaves say once the moved slices are where `places` says. */
export function leafRewrites(
  prepared: PreparedRewrite,
  places: ReadonlyMap<Piece, NewSlice>,
): LeafRewrite[] {
  return prepared.leafUnits.flatMap((unit) => {
    const to = unit.layout.map((slice) => {
      const piece = prepared.moved.get(sliceKey(slice));
      const place = piece && places.get(piece);
      return place === undefined ? slice : { ...place, live: slice.live };
    });
    return to.some((slice, index) => slice !== unit.layout[index]) ? [{ ...unit, to }] : [];
  });
}

function sliceKey({ segment, offsetBlocks }: Slice): string {
  return `${segment}:${offsetBlocks}`;
}
