/**
 * Makes cuts: begins one at an instant, reads its units into staged segments, commits it to the
 * local map. What follows, storing it in the bucket, is the publisher's.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import type { NewCheckpoint } from "../block-map/checkpoints.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { segmentSizeBytesMax, SegmentWriter, storedPart } from "../block-map/segment.ts";
import type { NewSegment } from "../block-map/segments.ts";
import type { Slice } from "../block-map/types.ts";
import { abortCut, beginCut, captureUnit, finishCut } from "../chunk-cache/cut.ts";
import type { Eviction } from "../chunk-cache/eviction.ts";
import { logReserveRecords } from "../chunk-cache/limits.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import { captureBatchUnits, roomForWriteBytes } from "./limits.ts";
import type { SegmentReader } from "./segment-reader.ts";
import type { Staging } from "./staging.ts";
import type { CheckpointRecord } from "./volume.ts";

export interface CutterOptions {
  map: BlockMap;
  local: LocalCache;
  reader: SegmentReader;
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

export class Cutter {
  readonly #options: CutterOptions;
  readonly #unit = Buffer.alloc(unitSizeBytes);
  /** One cut runs at a time and seals one segment at a time, so one buffer serves all of them. */
  readonly #segment = Buffer.alloc(segmentSizeBytesMax);

  constructor(options: CutterOptions) {
    this.#options = options;
  }

  /** Begins a cut. None may be running. */
  begin(): BegunCut {
    const { map, local } = this.#options;
    const cut = map.lastCut + 1;
    return { cut, units: beginCut(local.cache, cut) };
  }

  /** Captures and commits. When that fails the cut is taken back, and its blocks are dirty again. */
  async finish(
    begun: BegunCut,
    checkpoint: NewCheckpoint | null,
  ): Promise<CheckpointRecord | null> {
    const { map, local, staging, eviction } = this.#options;
    const segments: CutSegment[] = [];
    let record: CheckpointRecord | null;
    try {
      const changes = await this.#capture(begun, segments);
      if (segments.length > 0) await staging.syncNames();
      // What the map will say must also be what this machine has after a reboot (ARCHITECTURE.md section 4).
      await local.flush();
      const made = segments.map(({ id, sizeBytes }) => ({ id, sizeBytes }));
      const cut = { cut: begun.cut, changes, segments: made };
      record = map.commitCut(checkpoint === null ? cut : { ...cut, checkpoint });
      finishCut(
        local.cache,
        begun.cut,
        begun.units,
        (unit) => (changes.get(unit) ?? null) !== null,
      );
    } catch (error) {
      abortCut(local.cache, begun.units);
      staging.discard(segments.map(({ id }) => id));
      if (isDiskFull(error)) {
        local.releaseReserve();
        eviction.makeRoom(roomForWriteBytes);
        throw new SpriteError("disk_full", "store a cut: the local disk is full", { cause: error });
      }
      throw error;
    }
    staging.commit(segments.filter(({ isStaged }) => isStaged).map(({ id }) => id));
    local.clearAside();
    if (local.isFull) {
      eviction.makeRoom(roomForWriteBytes);
      local.restoreReserve();
    }
    reserveLog(local);
    await local.compactIfLong();
    return record;
  }

  async #capture(begun: BegunCut, segments: CutSegment[]): Promise<Map<number, Slice | null>> {
    const changes = new Map<number, Slice | null>();
    let open: { id: number; writer: SegmentWriter } | null = null;
    for (const [index, unit] of begun.units.entries()) {
      const stored = await this.#captureUnit(unit);
      if (stored.length === 0) {
        changes.set(unit, null);
      } else {
        if (open !== null && !open.writer.hasRoom(stored.length)) {
          await this.#seal(open, segments);
          open = null;
        }
        open ??= {
          id: this.#options.map.allocateSegment(),
          writer: new SegmentWriter({ buffer: this.#segment }),
        };
        changes.set(unit, { segment: open.id, ...open.writer.append(stored) });
      }
      if (index % captureBatchUnits === captureBatchUnits - 1) await nextTurn();
    }
    if (open !== null) await this.#seal(open, segments);
    return changes;
  }

  /** The unit's content without the zeros at its end; empty when all of it is zeros. */
  async #captureUnit(unit: number): Promise<Uint8Array> {
    const { map, local, reader } = this.#options;
    let capture = captureUnit(local.cache, unit, this.#unit, null);
    if (capture === "incomplete") {
      // The running cut is the only one that could change the map, so this is what the unit's other
      // blocks are.
      const slice = must(map.lookup(map.liveFileId, unit), "an incomplete unit is in the map");
      const base = must((await reader.readUnits([slice])).get(slice), "the slice was read");
      local.cache.fill(unit, base);
      capture = captureUnit(local.cache, unit, this.#unit, base);
    }
    return capture === "zeros" ? this.#unit.subarray(0, 0) : storedPart(this.#unit);
  }

  async #seal(open: { id: number; writer: SegmentWriter }, segments: CutSegment[]): Promise<void> {
    const bytes = open.writer.finish();
    const isStaged = await this.#stage(open.id, bytes);
    // A disk that is full of dirty data gets free only by storing it, so this segment takes the direct way.
    if (!isStaged) await this.#options.putSegment(open.id, bytes);
    segments.push({ id: open.id, sizeBytes: bytes.length, isStaged });
  }

  async #stage(id: number, bytes: Uint8Array): Promise<boolean> {
    // What was kept back for a full disk is for the map's commit.
    if (this.#options.local.isFull) return false;
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
