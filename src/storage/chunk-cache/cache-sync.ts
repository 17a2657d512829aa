/**
 * Making the cache durable. Bytes and log are in one file, so that a sync makes both durable: one, unless the
 * bytes have to be there before the log's word that they are. Either lane syncs, one at a time.
 */
import { fdatasyncSync } from "node:fs";
import type { BlockCache } from "./block-cache.ts";
import { recordType, type SyncData } from "./residency-log.ts";
import { control } from "./shared-state.ts";

export interface SyncPoint {
  /** Records in the log. */
  records: number;
  gains: number;
}

export class CacheSync {
  readonly #cache: BlockCache;
  readonly #syncData: SyncData;

  constructor(cache: BlockCache, syncData: SyncData = fdatasyncSync) {
    this.#cache = cache;
    this.#syncData = syncData;
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
      const { blocks } = this.#cache.files;
      if (!this.isOrderFree(point)) this.#syncData(blocks);
      const flushedRecords = this.markFlushed(point);
      this.#syncData(blocks);
      this.endFlush(point, flushedRecords);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
      words[control.syncFailed] = 1;
      throw error;
    } finally {
      this.end();
    }
  }

  /**
   * Whether bytes and marker may reach the disk in any order. A record that calls blocks dirty may get there
   * before their bytes: they were valid before, so a crash leaves them old or new. One that calls blocks
   * valid may not.
   */
  isOrderFree(point: SyncPoint): boolean {
    const words = this.#cache.state.control;
    return (
      point.records === words[control.flushedRecords] || point.gains === words[control.flushedGains]
    );
  }

  /** Writes the marker that ends what a sync covers, if any record does need one. Returns what it will have flushed. */
  markFlushed(point: SyncPoint): number {
    const { log, state } = this.#cache;
    if (point.records === state.control[control.flushedRecords]) return point.records;
    return this.#cache.locked(() => {
      const isLast = log.recordCount === point.records;
      log.mark(recordType.flushed, point.records);
      return isLast ? point.records + 1 : point.records;
    });
  }

  /** All of it is on the disk. */
  endFlush(point: SyncPoint, flushedRecords: number): void {
    const words = this.#cache.state.control;
    words[control.flushedRecords] = flushedRecords;
    words[control.flushedGains] = point.gains;
  }
}
