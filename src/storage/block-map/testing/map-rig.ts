import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { BlockMap, type BlockMapOptions } from "../block-map.ts";
import { unitSizeBytes } from "../geometry.ts";
import type { Slice, UnitChange, UnitLayout } from "../types.ts";

/** Block maps in directories of their own, and short ways to change them. */

export const sizeBytes = 4_096 * unitSizeBytes;

export function makePath(test: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "block-map-"));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "map.db");
}

export function makeMap(test: TestContext, options: BlockMapOptions = {}): BlockMap {
  const map = BlockMap.create(makePath(test), { sizeBytes, ...options });
  test.after(() => map.close());
  return map;
}

export const sliceIn = (segment: number, offsetBlocks = 1, stored = 0xffff): Slice => ({
  segment,
  offsetBlocks,
  stored,
  live: stored,
  check: 7,
});
export const layoutIn = (segment: number, offsetBlocks = 1): UnitLayout => [
  sliceIn(segment, offsetBlocks),
];
export const wholeUnit = (segment: number, offsetBlocks = 1): UnitChange => ({
  blocks: 0xffff,
  slice: sliceIn(segment, offsetBlocks),
});
export const zeros: UnitChange = { blocks: 0xffff, slice: null };
/** The segment of a unit that lies in one slice. */
export const segmentOf = (
  map: BlockMap,
  unit: number,
  fileId = map.liveFileId,
): number | undefined => map.lookup(fileId, unit)?.[0]?.segment;

/** Commits a cut that maps the units to one new segment; returns the segment. */
export function write(map: BlockMap, units: readonly number[], more: object = {}): number {
  const segment = map.allocateSegment();
  const changes = new Map(units.map((unit, index) => [unit, wholeUnit(segment, 1 + 16 * index)]));
  const segments = [{ id: segment, sizeBytes: 1_000 }];
  map.commitCut({ cut: map.lastCut + 1, changes, segments, ...more });
  return segment;
}

export function checkpoint(map: BlockMap, isAuto = false): string {
  const cut = map.lastCut + 1;
  const request = { comment: "", isAuto, createTimeMs: Date.UTC(2026, 0, 5, 10, 30) };
  return map.commitCut({ cut, changes: new Map(), segments: [], checkpoint: request })?.id ?? "";
}
