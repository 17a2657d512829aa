/**
 * A disk with 50 GB in use, without 50 GB: its map names one for each unit, as the map of such a disk would, but all of these lie in
 * segments that are there already. So everything that depends on the map has its real size, and the data must not be read.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { BlockMap } from "../src/storage/block-map/block-map.ts";
import { everyBlock, unitSizeBytes } from "../src/storage/block-map/geometry.ts";
import type { UnitChange } from "../src/storage/block-map/types.ts";
import type { ObjectStore } from "../src/storage/object-store/object-store.ts";
import { VolumeEngine } from "../src/storage/volume/engine.ts";
import { shipFirst } from "../src/storage/volume/fork.ts";

export const largeUnits = 800_000;
export const largeNote = "the map is that of a disk with 50 GB in use; its data is not there";

const unitsEachCut = 50_000;
/** Segments of 4 MiB. */
const unitsEachSegment = 63;
const realUnits = 8;

/** A volume that nobody has open, of which every unit is used and the first one can be read. */
export async function makeLargeVolume(options: {
  store: ObjectStore;
  prefix: string;
  directory: string;
}): Promise<void> {
  const { store, prefix, directory } = options;
  const cacheDirectory = join(directory, "large");
  const engine = await VolumeEngine.open({
    ...{ store, prefix, cacheDirectory, cacheSizeBytesMax: 2 ** 30, readOnly: false },
    ...{ sizeBytes: largeUnits * unitSizeBytes, syncIntervalMs: 1_000 },
    onProblem: () => undefined,
  });
  for (let unit = 0; unit < realUnits; unit++) {
    await engine.live.write(unit * unitSizeBytes, randomBytes(unitSizeBytes));
  }
  await engine.close({ discard: false });
  await fillMap({ store, prefix, cacheDirectory, units: allUnits() });
}

function* allUnits(): Generator<number> {
  for (let unit = 0; unit < largeUnits; unit++) yield unit;
}

/**
 * Maps units that are not in use. The volume must be closed, and the cache directory the one that it was open in last; that goes away,
 * and whoever opens the volume next finds the new map in the bucket.
 */
export async function fillMap(options: {
  store: ObjectStore;
  prefix: string;
  cacheDirectory: string;
  units: Iterable<number>;
}): Promise<void> {
  const { store, prefix, cacheDirectory, units } = options;
  const path = join(cacheDirectory, "map.db");
  const map = BlockMap.open(path);
  const used = new Set<number>();
  map.forEachLiveUnit((unit) => used.add(unit));
  const segments = map.segments().map(({ id }) => id);
  let changes = new Map<number, UnitChange>();
  let filled = 0;
  const commit = (): void => {
    map.commitCut({ cut: map.lastCut + 1, changes, segments: [] });
    changes = new Map();
  };
  for (const unit of units) {
    if (used.has(unit)) continue;
    const segment = segments[Math.floor(filled / unitsEachSegment) % segments.length];
    if (segment === undefined) throw new Error(`${prefix} has no segment`);
    const offsetBlocks = 1 + (filled++ % unitsEachSegment) * 16;
    const check = randomBytes(4).readUInt32LE();
    const slice = { segment, offsetBlocks, stored: everyBlock, check };
    changes.set(unit, { blocks: everyBlock, slice });
    if (changes.size === unitsEachCut) commit();
  }
  commit();
  map.close();
  await store.deletePrefix(`${prefix}/meta/`);
  await store.deleteMany([`${prefix}/head.json`]);
  await shipFirst({ store, to: prefix }, path);
  await rm(cacheDirectory, { recursive: true, force: true });
}
