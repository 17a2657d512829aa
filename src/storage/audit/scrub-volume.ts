/** Reads all objects of one volume again and verifies them: what a reader of the disk would find, before it does. */
import { rm } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { leavesScannedAtOnce } from "../block-map/limits.ts";
import { sliceRange, verifySegmentHeader, verifySlice } from "../block-map/segment.ts";
import type { LeafUnit, Slice } from "../block-map/types.ts";
import { sidecarPaths } from "../database.ts";
import type { LeaseClock } from "../lease/clock.ts";
import { chainFileProblem } from "../litestream/verify.ts";
import { tombstoneKey } from "../volume/fork-markers.ts";
import { chainPrefix, listChainOf } from "../volume/map-chain.ts";
import { mapAgeMsMax, placesNamedMax, scrubbedSegmentsAtOnce } from "./limits.ts";
import { readVolume, type VolumePlace } from "./volume-state.ts";

export interface Damage {
  /** Prefix of the volume that reads the object. */
  volume: string;
  /** The object, or what of the volume it is. */
  key: string;
  reason: string;
  /** The live file, `live`, and checkpoints, in which bytes cannot be read; none when that cannot be told. */
  files: string[];
  /** Where in those, the first of them: `<file>@<bytes from the beginning of the disk>`, each 64 KiB. */
  places: string[];
}

export interface ScrubVolumeOptions extends VolumePlace {
  clock: LeaseClock;
  /** A local file for the copy of the map; it is removed. */
  mapPath: string;
  /** The segment after which to go on; 0 for the whole volume, its metadata included. */
  after: number;
  /** Everything up to this segment has been read. */
  onSegment: (segment: number) => Promise<void>;
  onDamage: (damage: Damage) => void;
}

interface ScrubbedSegment {
  id: number;
  key: string;
  /** Null when the map does not say: the segment is another volume's. */
  sizeBytes: number | null;
}

/** @throws SpriteError storage_failure: the bucket does not answer */
export async function scrubVolume(options: ScrubVolumeOptions): Promise<void> {
  const scrub = new VolumeScrub(options);
  try {
    await scrub.run();
  } finally {
    await scrub.close();
  }
}

class VolumeScrub {
  readonly #options: ScrubVolumeOptions;
  #map: BlockMap | null = null;
  #mapReadAtMs = -Infinity;

  constructor(options: ScrubVolumeOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { store, prefix, signal, after } = this.#options;
    // What is left of a destroyed volume is read by its forks, and scrubbed as theirs.
    if ((await store.get(tombstoneKey(prefix), { signal })) !== null) return;
    if (after === 0) await this.#scrubChain();
    if (!(await this.#readMap())) return;
    if (after === 0) this.#checkMap();
    for (let last: number | null = after; last !== null;) last = await this.#scrubBatch(last);
  }

  async close(): Promise<void> {
    const { mapPath } = this.#options;
    this.#map?.close();
    this.#map = null;
    for (const path of [mapPath, ...sidecarPaths(mapPath)]) await rm(path, { force: true });
  }

  async #scrubChain(): Promise<void> {
    const { store, prefix, signal } = this.#options;
    const place = { store, prefix: chainPrefix(prefix), signal };
    for (const file of await listChainOf({ store, prefix, clock: this.#options.clock })) {
      const problem = await chainFileProblem(file, place);
      // A second look: what came damaged over the network once is not damaged there.
      if (problem === null || (await chainFileProblem(file, place)) === null) continue;
      this.#tell({ key: chainPrefix(prefix), reason: problem, files: [], places: [] });
    }
  }

  /** False when there is no map to go by. */
  async #readMap(): Promise<boolean> {
    const { prefix, mapPath, clock, signal } = this.#options;
    this.#map?.close();
    this.#map = null;
    const read = async (): Promise<void> => {
      this.#map = (await readVolume(this.#options, mapPath))?.map ?? null;
      this.#mapReadAtMs = clock.monotonicMs();
    };
    // A second look, as at everything else: one answer that did not come is no damage.
    await read().catch(async (error: unknown) => {
      signal?.throwIfAborted();
      if (!(error instanceof SpriteError)) throw error;
      await read().catch((second: unknown) => {
        signal?.throwIfAborted();
        if (!(second instanceof SpriteError)) throw second;
        this.#tell({ key: prefix, reason: second.message, files: [], places: [] });
      });
    });
    return this.#map !== null;
  }

  #checkMap(): void {
    const key = chainPrefix(this.#options.prefix);
    for (const reason of this.#map?.checkIntegrity() ?? []) {
      this.#tell({ key, reason: `the map: ${reason}`, files: [], places: [] });
    }
  }

  /** Returns the last segment that was read; null when there are no more. */
  async #scrubBatch(after: number): Promise<number | null> {
    const { signal, clock } = this.#options;
    if (this.#map === null) return null;
    const batch = segmentsOf(this.#map, this.#options.prefix)
      .filter(({ id }) => id > after)
      .slice(0, scrubbedSegmentsAtOnce);
    const units = await findUnits(this.#map, new Set(batch.map(({ id }) => id)));
    const slices = slicesBySegment(units);
    for (const segment of batch) {
      signal?.throwIfAborted();
      const found = await this.#problemOf(segment, slices.get(segment.id) ?? []);
      if (found !== null && clock.monotonicMs() - this.#mapReadAtMs > mapAgeMsMax) {
        // The writer may have given the segment up and deleted it since: ask again with a map of now.
        await this.#readMap();
        return segment.id - 1;
      }
      if (found !== null) this.#tellOfSegment(segment, { ...found, units });
      await this.#options.onSegment(segment.id);
    }
    return batch.at(-1)?.id ?? null;
  }

  async #problemOf(
    segment: ScrubbedSegment,
    slices: readonly Slice[],
  ): Promise<{ reason: string; damaged: readonly Slice[] } | null> {
    const { store, signal } = this.#options;
    const verify = async (): Promise<ReturnType<typeof verifySegment>> =>
      verifySegment(segment, slices, await store.get(segment.key, { signal }));
    return (await verify()) === null ? null : await verify();
  }

  #tellOfSegment(
    { id, key }: ScrubbedSegment,
    found: { reason: string; damaged: readonly Slice[]; units: readonly LeafUnit[] },
  ): void {
    const offsets = new Set(found.damaged.map(({ offsetBlocks }) => offsetBlocks));
    const files = new Set<string>();
    const places: string[] = [];
    for (const { leaf, index, layout } of found.units) {
      const isHit = layout.some(
        ({ segment, offsetBlocks }) => segment === id && offsets.has(offsetBlocks),
      );
      for (const { name, firstUnit } of isHit ? (this.#map?.filesOfLeaf(leaf) ?? []) : []) {
        files.add(name);
        const place = `${name}@${(firstUnit + index) * unitSizeBytes}`;
        if (places.length < placesNamedMax) places.push(place);
      }
    }
    this.#tell({
      key,
      reason: found.reason,
      files: [...files].toSorted(),
      places: places.toSorted(),
    });
  }

  #tell(damage: Omit<Damage, "volume">): void {
    this.#options.onDamage({ volume: this.#options.prefix, ...damage });
  }
}

/** Everything that the map names, by number. */
function segmentsOf(map: BlockMap, prefix: string): ScrubbedSegment[] {
  const own = map
    .segments()
    .filter(({ isGarbage }) => !isGarbage)
    .map(({ id, key, sizeBytes }) => ({ id, key: `${prefix}/${key}`, sizeBytes }));
  const foreign = map
    .foreignSegments()
    .flatMap(({ owner, ids }) =>
      ids.map((id) => ({ id, key: `${owner}/${map.segmentKey(id)}`, sizeBytes: null })),
    );
  return [...own, ...foreign].toSorted((one, other) => one.id - other.id);
}

async function findUnits(map: BlockMap, segments: ReadonlySet<number>): Promise<LeafUnit[]> {
  const units: LeafUnit[] = [];
  for (let after: number | null = 0; after !== null;) {
    const found: { units: LeafUnit[]; last: number | null } = map.findUnitsIn(segments, {
      after,
      count: leavesScannedAtOnce,
    });
    units.push(...found.units);
    after = found.last;
    await nextTurn();
  }
  return units;
}

/** Each slice once, however many leaves name it. */
function slicesBySegment(units: readonly LeafUnit[]): Map<number, Slice[]> {
  const bySegment = new Map<number, Map<number, Slice>>();
  for (const slice of units.flatMap(({ layout }) => layout)) {
    const slices = bySegment.get(slice.segment) ?? new Map<number, Slice>();
    slices.set(slice.offsetBlocks, slice);
    bySegment.set(slice.segment, slices);
  }
  return new Map([...bySegment].map(([segment, slices]) => [segment, [...slices.values()]]));
}

/** What is wrong with the object, and which slices cannot be read; null when it is sound. */
function verifySegment(
  { key, sizeBytes }: ScrubbedSegment,
  slices: readonly Slice[],
  bytes: Uint8Array | null,
): { reason: string; damaged: readonly Slice[] } | null {
  if (bytes === null) return { reason: `segment ${key} is missing`, damaged: slices };
  const reasons: string[] = [];
  const damaged: Slice[] = [];
  const attempt = (verify: () => unknown): boolean => {
    try {
      verify();
      return true;
    } catch (error) {
      if (!(error instanceof SpriteError)) throw error;
      reasons.push(error.message);
      return false;
    }
  };
  attempt(() => verifySegmentHeader(bytes, bytes.length, key));
  if (sizeBytes !== null && bytes.length !== sizeBytes) {
    reasons.push(`segment ${key} has ${bytes.length} bytes instead of ${sizeBytes}`);
  }
  for (const slice of slices) {
    const { offsetBytes, lengthBytes } = sliceRange(slice);
    const stored = bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
    if (!attempt(() => verifySlice(slice, stored, key))) damaged.push(slice);
  }
  return reasons.length === 0 ? null : { reason: reasons[0] ?? "", damaged };
}
