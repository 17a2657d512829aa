/**
 * Making the cache durable: its bytes first, then the log's word that they are there, unless the order
 * does not matter. Either lane syncs, one at a time.
 */
import { fdatasyncSync } from "node:fs";
import type { BlockCache } from "./block-cache.ts";
import { recordType } from "./residency-log.ts";
import { control } from "./shared-state.ts";

export interface SyncPoint {
  /** Records in the log. */
  records: number;
  gains: number;
}

export class CacheSync {
  readonly #cache: BlockCache;

  constructor(cache: BlockCache) {
    this.#cache = cache;
  }

  /** Takes the right to sync. False while the other lane has it. */
  begin(): boolean {
    const words = this.#cache.state.control;
    return this.#cache.locked(() => {
      if (words[control.syncRunning] !== 0) return false;
      words[control.syncRunning] = 1;
      return true;
    });
  }

  end(): void {
    this.#cache.state.control[control.syncRunning] = 0;
  }

  /** What a sync that begins now has to cover. */
  point(): SyncPoint {
    const words = this.#cache.state.control;
    return this.#cache.locked(() => ({
      records: words[control.logRecords] as number,
      gains: words[control.validGains] as number,
    }));
  }

  /**
   * Makes everything durable that was written before the call, waiting for the disk. False, with
   * nothing promised, while the other lane syncs, after a failure that it has to report, and on a
   * full disk.
   * @throws the file system's error; then no later sync counts either
   */
  trySync(): boolean {
    const words = this.#cache.state.control;
    if (words[control.syncFailed] !== 0 || !this.begin()) return false;
    try {
      const point = this.point();
      fdatasyncSync(this.#cache.files.blocks);
      if (point.records !== words[control.flushedRecords]) {
        const isLast = this.markFlushed(point);
        fdatasyncSync(words[control.logDescriptor] as number);
        this.endFlush(point, isLast);
      }
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
      words[control.syncFailed] = 1;
      throw error;
    } finally {
      this.end();
    }
  }

  /** Writes the marker that ends what a sync covers. True when no record came after it. */
  markFlushed(point: SyncPoint): boolean {
    return this.#cache.locked(() => {
      const isLast = this.#cache.log.recordCount === point.records;
      this.#cache.log.mark(recordType.flushed, point.records);
      return isLast;
    });
  }

  /** The marker is on the disk. */
  endFlush(point: SyncPoint, isLast: boolean): void {
    const words = this.#cache.state.control;
    words[control.flushedRecords] = isLast ? point.records + 1 : point.records;
    words[control.flushedGains] = point.gains;
  }
}
