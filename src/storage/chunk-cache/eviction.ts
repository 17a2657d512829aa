/**
 * Keeps the cache file under its limit, and the disk it is on from filling up: the hand of a clock passes
 * over the units and drops those that were not read since it last came by. What is dirty or in a running
 * cut stays, whatever the limit says.
 *
 * Every volume of a machine has its own limit and its own process; what they share is the disk, and each
 * of them gives back a part of what it has for as long as the disk has too little left.
 */
import { fstatSync } from "node:fs";
import { unitSizeBytes } from "../block-map/geometry.ts";
import type { BlockCache } from "./block-cache.ts";
import {
  headroomBytes,
  noteSpace,
  spaceOf,
  usualFreeBytesMin,
  type DiskSpace,
} from "./disk-space.ts";
import {
  allBlocks,
  evictionBatchUnits,
  evictionScanUnits,
  evictionTargetRatio,
  freeShareRatio,
} from "./limits.ts";
import type { PunchHole } from "./punch-hole.ts";
import { recordType } from "./residency-log.ts";
import { unitFlag } from "./shared-state.ts";
import { dropUnit } from "./unit-checks.ts";

/** Bytes that the cache file takes on the disk. */
export function allocatedBytes(cache: BlockCache): number {
  const allocated = fstatSync(cache.files.blocks).blocks * 512;
  return Math.max(0, allocated - cache.log.allocatedBytes);
}

export interface EvictionOptions {
  punchHole: PunchHole;
  sizeBytesMax: number;
  /** Space that stays free on the disk; absent: a share of it. */
  freeBytesMin?: number;
  /** Absent: asks the kernel. */
  diskSpace?: () => DiskSpace;
}

export class Eviction {
  readonly sizeBytesMax: number;
  readonly #cache: BlockCache;
  readonly #punchHole: PunchHole;
  readonly #freeBytesMin: number | null;
  readonly #diskSpace: () => DiskSpace;
  #hand = 0;

  constructor(cache: BlockCache, options: EvictionOptions) {
    this.#cache = cache;
    this.#punchHole = options.punchHole;
    this.sizeBytesMax = options.sizeBytesMax;
    this.#freeBytesMin = options.freeBytesMin ?? null;
    this.#diskSpace = options.diskSpace ?? (() => spaceOf(cache.files.blocks));
  }

  /**
   * Drops units until the file is well under its limit and the disk has space again, or nothing more can
   * be dropped; and says how much writers are slowed. Returns the units dropped.
   */
  run(): number {
    const { freeBytes, freeBytesMin } = this.measure();
    const allocated = allocatedBytes(this.#cache);
    let target = allocated;
    if (allocated > this.sizeBytesMax) target = this.sizeBytesMax * evictionTargetRatio;
    if (freeBytes < freeBytesMin) {
      // The other volumes give their part too; what is still missing then, the next runs give.
      const part = Math.min(freeBytesMin - freeBytes, allocated * freeShareRatio);
      target = Math.min(target, allocated - part);
    }
    return target < allocated ? this.#dropUntil(target) : 0;
  }

  /** Tells writers how much space is left. */
  measure(): DiskSpace & { freeBytesMin: number } {
    const space = this.#diskSpace();
    const freeBytesMin = this.#freeBytesMin ?? usualFreeBytesMin(space.sizeBytes);
    noteSpace(this.#cache.state, space, freeBytesMin);
    return { ...space, freeBytesMin };
  }

  /** Whether so much can be written beside the cache and what is kept for small writes is still there. */
  leavesHeadroom(sizeBytes: number): boolean {
    const space = this.measure();
    return space.freeBytes - sizeBytes >= headroomBytes(space);
  }

  /** Drops clean units, whatever the limit, because the disk is full. */
  makeRoom(sizeBytes: number): number {
    return this.#dropUntil(Math.max(0, allocatedBytes(this.#cache) - sizeBytes));
  }

  #dropUntil(target: number): number {
    let dropped = 0;
    // Two turns: the first may find every unit referenced.
    let passed = 0;
    while (passed < 2 * this.#cache.state.unitCount) {
      const batch = this.#cache.locked(() => this.#dropBatch());
      passed += batch.passed;
      dropped += batch.units.length;
      if (batch.units.length > 0 && allocatedBytes(this.#cache) <= target) break;
    }
    return dropped;
  }

  #dropBatch(): { units: number[]; passed: number } {
    const { state, log, files } = this.#cache;
    const units: number[] = [];
    let passed = 0;
    while (passed < evictionScanUnits && units.length < evictionBatchUnits) {
      const unit = this.#hand;
      this.#hand = (this.#hand + 1) % state.unitCount;
      passed++;
      if (state.valid(unit) === 0 || state.dirty(unit) !== 0) continue;
      const word = state.cuts[unit] as number;
      if ((word & allBlocks) !== 0) continue;
      if ((word & unitFlag.referenced) !== 0) {
        state.cuts[unit] = word & ~unitFlag.referenced;
        continue;
      }
      units.push(unit);
      log.add(recordType.unit, unit, 0, 0);
    }
    log.append();
    for (const unit of units) dropUnit(state, unit);
    for (const unit of units) this.#punchHole(files.blocks, unit * unitSizeBytes, unitSizeBytes);
    return { units, passed };
  }
}

/** Drops clean units whose place in the map has changed, as after a restore. */
export function invalidateUnits(
  cache: BlockCache,
  units: Uint32Array,
  options: { punchHole: PunchHole; isMapped: (unit: number) => boolean },
): void {
  const { state, log, files } = cache;
  cache.locked(() => {
    for (const unit of units) {
      dropUnit(state, unit);
      state.cuts[unit] = (state.cuts[unit] as number) & ~(unitFlag.zeroed | unitFlag.referenced);
      state.setMapped(unit, options.isMapped(unit));
      log.add(recordType.unit, unit, 0, 0);
    }
    log.append();
    for (const unit of units) {
      options.punchHole(files.blocks, unit * unitSizeBytes, unitSizeBytes);
    }
  });
}
