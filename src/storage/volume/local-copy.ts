/**
 * What this machine has of a volume that nobody here has open, for somebody who only reads: he opens a directory of his own, and takes
 * from here what is proven to be the bucket's. Its owner may come back at any moment and change it.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { packBlocks, placeSlice } from "../block-map/segment.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import type { UnitLayout } from "../block-map/types.ts";
import { blocksName } from "../chunk-cache/cache-files.ts";
import { LocalRecord } from "./local-state.ts";
import { mapName } from "./volume-state.ts";

/**
 * Copies the map into an empty directory if it was closed in order; `openReadOnly` compares it with its check and
 * with the bucket's head, and fetches it when it is not the same.
 */
export async function copyLocalMap(options: {
  from: string;
  to: string;
  prefix: string;
}): Promise<void> {
  const { from, to, prefix } = options;
  await mkdir(to, { recursive: true, mode: 0o700 });
  const state = LocalRecord.read(from, prefix)?.state;
  if (state === undefined || !state.isClean || state.isHydrating || state.mapCheck === null) return;
  try {
    await copyFile(join(from, mapName), join(to, mapName));
    // The record as it was read: the one on the disk may be of an owner who has opened it since.
    await new LocalRecord(to, state).save({});
  } catch {
    // The bucket has all of it.
  }
}

/**
 * The contents of those units whose every block is in another cache of the same volume. Nobody says what of that cache is
 * valid, or that it stays so: each slice is compared with its checksum, as what comes from the bucket is.
 */
export function readOtherCache(
  directory: string,
  units: readonly number[],
  layouts: readonly (UnitLayout | null)[],
): Map<UnitLayout, Uint8Array> {
  const found = new Map<UnitLayout, Uint8Array>();
  let file: number;
  try {
    file = openSync(join(directory, blocksName), "r");
  } catch {
    return found;
  }
  try {
    for (const [index, unit] of units.entries()) {
      const layout = layouts[index] ?? null;
      if (layout === null) continue;
      const content = readUnit(file, unit, layout);
      if (content !== null) found.set(layout, content);
    }
  } finally {
    closeSync(file);
  }
  return found;
}

function readUnit(file: number, unit: number, layout: UnitLayout): Uint8Array | null {
  const bytes = new Uint8Array(unitSizeBytes);
  try {
    readSync(file, bytes, 0, unitSizeBytes, unit * unitSizeBytes);
  } catch {
    return null;
  }
  const content = new Uint8Array(unitSizeBytes);
  for (const slice of layout) {
    const stored = packBlocks(bytes, slice.stored);
    if (crc32(stored) !== slice.check) return null;
    placeSlice(slice, stored, content);
  }
  return content;
}
