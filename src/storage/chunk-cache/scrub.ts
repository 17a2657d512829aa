/**
 * Walks through the cache in idle time: gives clean units the check that a later process will ask for,
 * and compares a few that have one with the file, so that what the disk lost is found before it is
 * needed. The slow lane owns it.
 */
import { unitSizeBytes } from "../block-map/geometry.ts";
import type { BlockCache } from "./block-cache.ts";
import { readFully } from "./file-io.ts";
import {
  checkBatchUnits,
  checksPerTurnMax,
  evictionScanUnits,
  verificationsPerTurnMax,
} from "./limits.ts";
import { unitFlag } from "./shared-state.ts";
import { checkOf, dropUnit, isClean, matchesCheck, setCheck } from "./unit-checks.ts";

export class Scrub {
  readonly #cache: BlockCache;
  readonly #buffer = Buffer.alloc(unitSizeBytes);
  #checkHand = 0;
  #verifyHand = 0;
  /** Units that were found damaged and dropped. */
  damagedUnits = 0;

  constructor(cache: BlockCache) {
    this.#cache = cache;
  }

  /** One turn of the background work: some milliseconds at most. Returns the units found damaged. */
  run(): number {
    this.#checkSome(checksPerTurnMax);
    const before = this.damagedUnits;
    this.#verifySome(verificationsPerTurnMax);
    return this.damagedUnits - before;
  }

  /**
   * Gives a check to every clean unit, in the time there is; what has none then is fetched again by the
   * next process. Nobody writes any more.
   */
  checkAll(deadlineMs: number, nowMs: () => number): void {
    const { unitCount } = this.#cache.state;
    this.#checkHand = 0;
    for (let scanned = 0; scanned < unitCount && nowMs() < deadlineMs;) {
      scanned += this.#checkSome(checksPerTurnMax);
    }
  }

  /** Returns how many units it has looked at. */
  #checkSome(countMax: number): number {
    const { state } = this.#cache;
    const scanMax = Math.min(evictionScanUnits, state.unitCount);
    let scanned = 0;
    for (let checked = 0; scanned < scanMax && checked < countMax;) {
      const units: number[] = [];
      while (scanned < scanMax && units.length < checkBatchUnits) {
        const unit = this.#checkHand;
        this.#checkHand = (unit + 1) % state.unitCount;
        scanned++;
        if (this.#needsCheck(unit)) units.push(unit);
      }
      checked += units.length;
      if (units.length > 0) this.#cache.locked(() => this.#checkNow(units));
    }
    return scanned;
  }

  /** Asked without the lock first, and under it again. */
  #needsCheck(unit: number): boolean {
    const { state } = this.#cache;
    const word = state.cuts[unit] as number;
    if ((word & unitFlag.checked) !== 0 || (word & unitFlag.verified) === 0) return false;
    // What the map does not have is zeros, and needs none.
    return (word & unitFlag.mapped) !== 0 && isClean(state, unit);
  }

  #checkNow(units: readonly number[]): void {
    const { state, files, log } = this.#cache;
    const checks: [number, number][] = [];
    for (const unit of units) {
      if (!this.#needsCheck(unit)) continue;
      readFully(files.blocks, this.#buffer, 0, unitSizeBytes, unit * unitSizeBytes);
      const check = checkOf(this.#buffer, state.valid(unit));
      log.addCheck(unit, check);
      checks.push([unit, check]);
    }
    try {
      log.append();
    } catch (error) {
      // On a full disk the log is for those who write; the next turn tries again.
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      return;
    }
    for (const [unit, check] of checks) setCheck(state, unit, check);
  }

  #verifySome(countMax: number): void {
    const { state, files } = this.#cache;
    const scanMax = Math.min(evictionScanUnits, state.unitCount);
    for (let scanned = 0, compared = 0; scanned < scanMax && compared < countMax; scanned++) {
      const unit = this.#verifyHand;
      this.#verifyHand = (unit + 1) % state.unitCount;
      if (((state.cuts[unit] as number) & unitFlag.checked) === 0) continue;
      compared++;
      this.#cache.locked(() => {
        const isChecked = ((state.cuts[unit] as number) & unitFlag.checked) !== 0;
        if (!isChecked || !isClean(state, unit)) return;
        if (matchesCheck(state, files, unit, this.#buffer)) {
          state.cuts[unit] = (state.cuts[unit] as number) | unitFlag.verified;
          return;
        }
        dropUnit(state, unit);
        this.damagedUnits++;
      });
    }
  }
}
