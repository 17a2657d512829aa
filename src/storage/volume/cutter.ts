/**
 * Makes cuts: begins one at an instant, reads its units into staged segments, commits it to the
 * local map. What follows, storing it in the bucket, is the publisher's.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import type { NewCheckpoint } from "../block-map/checkpoints.ts";
import { everyBlock, unitSizeBytes, unitsPerLeaf } from "../block-map/geometry.ts";
import { blocksToStore, changeLayout, isSameLayout } from "../block-map/layout.ts";
import { nonZeroBlocks, segmentSizeBytesMax } from "../block-map/segment.ts";
import type { NewSegment } from "../block-map/segments.ts";
import type { LeafRewrite, NewSlice, UnitChange, UnitLayout } from "../block-map/types.ts";
import { abortCut, beginCut, captureUnit, finishCut } from "../chunk-cache/cut.ts";
import type { Eviction } from "../chunk-cache/eviction.ts";
import { logReserveRecords } from "../chunk-cache/limits.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import { captureBatchUnits, roomForWriteBytes } from "./limits.ts";
import { leafRewrites, type Piece, type PreparedRewrite } from "./rewriter.ts";
import { SegmentPacker } from "./segment-packer.ts";
import type { Staging } from "./staging.ts";
import type { CheckpointRecord } from "./volume.ts";

export interface CutterOptions {
  map: BlockMap;
  local: LocalCache;
  staging: Staging;
  eviction: Eviction;
  /** Stores a segment in the bucket at once. */
  putSegment: (id: number, bytes: Uint8Array) => Promise<void>;
}

/** A cut that has begun: the guest's later writes are not in it. */
export interface BegunCut {
  cut: number;
  units: Int32Array;
}

interface CutSegment extends NewSegment {
  /** False when it went to the bucket directly. */
  isStaged: boolean;
}

interface CapturedCut {
  changes: Map<number, UnitChange>;
  /** Units that the map has after the cut. */
  mapped: Set<number>;
}

export class Cutter {
  readonly #options: CutterOptions;
  readonly #unit = Buffer.alloc(unitSizeBytes);
  /** One cut runs at a time and seals one segment at a time, so one buffer serves all of them. */
  readonly #segment = Buffer.alloc(segmentSizeBytesMax);
  /** Why the bucket did not take a segment, the last time. */
  #bucketError: unknown = null;

  constructor(options: CutterOptions) {
    this.#options = options;
  }

  /** Begins a cut. None may be running. @throws SpriteError disk_full: the next attempt has more room */
  begin(): BegunCut {
    const { map, local } = this.#options;
    const cut = map.lastCut + 1;
    try {
      return { cut, units: beginCut(local.cache, cut) };
    } catch (error) {
      throw isDiskFull(error) ? this.#giveReserve(error) : error;
    }
  }

  /**
   * Captures and commits, and stores again what `prepared` says. When that fails the cut is taken back, and its
   * blocks are dirty again.
   */
  async finish(
    begun: BegunCut,
    checkpoint: NewCheckpoint | null,
    prepared: PreparedRewrite | null = null,
  ): Promise<CheckpointRecord | null> {
    const { map, local, staging } = this.#options;
    const segments: CutSegment[] = [];
    let record: CheckpointRecord | null;
    try {
      const packer = new SegmentPacker({
        buffer: this.#segment,
        allocate: () => map.allocateSegment(),
        onSealed: (id, bytes) => this.#seal(id, bytes, segments),
      });
      const { changes, mapped } = await this.#capture(begun, packer);
      const rewrites = await this.#storeAgain(prepared, begun.cut, changes, packer);
      await packer.finish();
      if (segments.length > 0) await staging.syncNames();
      // What the map will say must also be what this machine has after a reboot (ARCHITECTURE.md section 4).
      await local.flush();
      const made = segments.map(({ id, sizeBytes }) => ({ id, sizeBytes }));
      const cut = { cut: begun.cut, changes, segments: made, rewrites };
      record = map.commitCut(checkpoint === null ? cut : { ...cut, checkpoint });
      finishCut(local.cache, begun.cut, begun.units, (unit) => mapped.has(unit));
    } catch (error) {
      abortCut(local.cache, begun.units);
      staging.discard(segments.map(({ id }) => id));
      if (!isDiskFull(error)) throw error;
      // A full bucket is no reason to hold the guest off: its file system does not survive that for long.
      if (error !== this.#bucketError) throw this.#giveReserve(error);
      // If the bucket is on the same disk, this is all that can be done for it.
      this.#makeRoom();
      throw error;
    }
    staging.commit(segments.filter(({ isStaged }) => isStaged).map(({ id }) => id));
    local.clearAside();
    if (local.isFull) {
      this.#makeRoom();
      local.restoreReserve();
    }
    reserveLog(local);
    await local.compactIfLong();
    return record;
  }

  /** The reserve comes first: what is dropped from the cache is logged, and the log may have no room for that either. */
  #giveReserve(cause: unknown): SpriteError {
    this.#options.local.releaseReserve();
    this.#makeRoom();
    return new SpriteError("disk_full", "store a cut: the local disk is full", { cause });
  }

  #makeRoom(): void {
    try {
      this.#options.eviction.makeRoom(roomForWriteBytes);
    } catch (error) {
      // Nothing can be dropped before there is room for the log: that is no reason not to store what is committed.
      if (!isDiskFull(error)) throw error;
    }
  }

  async #capture(begun: BegunCut, packer: SegmentPacker): Promise<CapturedCut> {
    const changes = new Map<number, UnitChange>();
    const mapped = new Set<number>();
    const layouts = new LayoutsByLeaf(this.#options.map);
    for (const [index, unit] of begun.units.entries()) {
      const layout = layouts.of(unit);
      const { blocks, stored } = this.#captureUnit(unit, layout);
      const change: UnitChange = {
        blocks,
        slice: stored === 0 ? null : await packer.add(this.#unit, stored),
      };
      changes.set(unit, change);
      if (changeLayout(layout, change) !== null) mapped.add(unit);
      if (index % captureBatchUnits === captureBatchUnits - 1) await nextTurn();
    }
    return { changes, mapped };
  }

  /** Reads what the cut stores of a unit. `blocks` get new content; those not in `stored` become zeros. */
  #captureUnit(unit: number, layout: UnitLayout | null): { blocks: number; stored: number } {
    const captured = captureUnit(this.#options.local.cache, unit, this.#unit, (found) =>
      blocksToStore({ ...found, layout }),
    );
    if (captured === "zeros") return { blocks: everyBlock, stored: 0 };
    return { blocks: captured, stored: nonZeroBlocks(this.#unit, captured) };
  }

  /** Stores again what was prepared for this cut; adds the units that it collapses to the changes. */
  async #storeAgain(
    prepared: PreparedRewrite | null,
    cut: number,
    changes: Map<number, UnitChange>,
    packer: SegmentPacker,
  ): Promise<LeafRewrite[]> {
    const { map } = this.#options;
    if (prepared?.cut !== cut) return [];
    const places = new Map<Piece, NewSlice>();
    for (const piece of prepared.moved.values()) {
      places.set(piece, await packer.addPacked(piece.bytes, piece.stored));
    }
    for (const [{ unit, layout }, { bytes, stored }] of prepared.collapsed) {
      // A restore may have come between.
      const isCurrent = isSameLayout(layout, map.lookup(map.liveFileId, unit));
      if (!isCurrent || changes.has(unit)) continue;
      changes.set(unit, { blocks: stored, slice: await packer.addPacked(bytes, stored) });
    }
    return leafRewrites(prepared, places);
  }

  async #seal(id: number, bytes: Uint8Array, segments: CutSegment[]): Promise<void> {
    const isStaged = await this.#stage(id, bytes);
    // A disk that is full of dirty data gets free only by storing it, so this segment takes the direct way.
    if (!isStaged) {
      await this.#options.putSegment(id, bytes).catch((error: unknown) => {
        this.#bucketError = error;
        throw error;
      });
    }
    segments.push({ id, sizeBytes: bytes.length, isStaged });
  }

  async #stage(id: number, bytes: Uint8Array): Promise<boolean> {
    // What was kept back for a full disk is for the map's commit, and the headroom for the guest's file system.
    const { local, eviction } = this.#options;
    if (local.isFull || !eviction.leavesHeadroom(bytes.length)) return false;
    try {
      await this.#options.staging.write(id, bytes);
      return true;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#options.staging.discard([id]);
      return false;
    }
  }
}

/** Where the live file's units are, for one who asks in ascending order. */
class LayoutsByLeaf {
  readonly #map: BlockMap;
  #firstUnit = -1;
  #layouts: (UnitLayout | null)[] = [];

  constructor(map: BlockMap) {
    this.#map = map;
  }

  of(unit: number): UnitLayout | null {
    const firstUnit = unit - (unit % unitsPerLeaf);
    if (firstUnit !== this.#firstUnit) {
      this.#firstUnit = firstUnit;
      this.#layouts = this.#map.lookupRange(this.#map.liveFileId, firstUnit, unitsPerLeaf);
    }
    return this.#layouts[unit - firstUnit] ?? null;
  }
}

function reserveLog(local: LocalCache): void {
  try {
    local.cache.log.reserve(logReserveRecords);
  } catch (error) {
    // Full now: there is still what was reserved before, and the next cut tries again.
    if (!isDiskFull(error)) throw error;
  }
}

function isDiskFull(error: unknown): boolean {
  if (error instanceof SpriteError) return error.code === "disk_full";
  return (error as NodeJS.ErrnoException).code === "ENOSPC";
}
