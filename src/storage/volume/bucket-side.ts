/** What a writable volume does with its bucket: publishing, tidying up, and letting go at the end. */
import { dirname, join } from "node:path";
import type { MaintenancePolicy } from "../litestream/database-replica.ts";
import { mapPolicy } from "../litestream/policies.ts";
import { Garbage } from "./garbage.ts";
import { collectIntervalMs, preRestoreAgeMsMax } from "./limits.ts";
import type { LocalState } from "./local-state.ts";
import { checkOfMap } from "./map-check.ts";
import { MappedUnits } from "./mapped-units.ts";
import { listChainOf, openChain, writerOf } from "./map-chain.ts";
import { refuseOlder } from "./open-state.ts";
import { mapName, scratchName, type OpenedState, type OpenStateOptions } from "./volume-state.ts";
import { Publisher } from "./publisher.ts";
import type { Staging } from "./staging.ts";

export interface BucketSideOptions extends OpenStateOptions {
  staging: Staging;
  /** How long the past can be restored; segments live that long beyond their last name. */
  retentionMs: number;
}

export class BucketSide {
  readonly publisher: Publisher;
  readonly #opened: OpenedState;
  readonly #garbage: Garbage;
  readonly #mapPath: string;
  readonly #options: Pick<BucketSideOptions, "clock" | "retentionMs">;
  /** When a crash's leavings are looked for next; infinity: there are none. */
  #sweepAtMs: number;
  /** By the monotonic clock: from then on no leavings can be so young that they are spared. */
  readonly #lastSweepFromMs: number;

  constructor(options: BucketSideOptions, opened: OpenedState) {
    const { store, prefix, clock, cacheDirectory, staging, retentionMs } = options;
    const { map, lease, chain, capture, record, syncedCut } = opened;
    this.#opened = opened;
    this.#mapPath = join(cacheDirectory, mapName);
    this.#options = { clock, retentionMs };
    this.#sweepAtMs = opened.wasClean ? Infinity : 0;
    this.#lastSweepFromMs =
      clock.monotonicMs() + retentionMs + Math.min(retentionMs, collectIntervalMs);
    const { nowMs } = clock;
    this.#garbage = new Garbage({ store, prefix, map, graceMs: retentionMs, nowMs });
    if (syncedCut >= 0) this.#garbage.synced(syncedCut);
    this.publisher = new Publisher({
      ...{ store, prefix, map, staging, lease, chain, capture, syncedCut, nowMs },
      syncedAtMs: syncedCut < 0 ? null : (lease.previous?.writtenAtMs ?? null),
      policy: policyFor(retentionMs),
      scratchDirectory: join(cacheDirectory, scratchName),
      isOurs: async (txid) => {
        const writer = await writerOf(options, txid);
        return writer !== null && record.state.writers.includes(writer);
      },
      reopenChain: async (txid) => {
        const { writer } = lease.head.value;
        const reopened = openChain(options, { writer, files: await listChainOf(options) });
        refuseOlder(options, reopened, txid);
        return reopened;
      },
      onSynced: async (cut) => {
        this.#garbage.synced(cut);
        const wal = capture.position();
        await record.saveProgress({ txid: this.publisher.txid, syncedCut: cut, wal });
      },
    });
  }

  get generation(): number {
    return this.#opened.lease.head.value.generation;
  }

  get localState(): Readonly<LocalState> {
    return this.#opened.record.state;
  }

  /** Everything that can wait; makes no request when nothing is due. @throws SpriteError storage_failure */
  async tidy(signal: AbortSignal): Promise<{ isMapChanged: boolean }> {
    const { map } = this.#opened;
    await this.#sweepIfDue(signal);
    await this.#garbage.collect(signal);
    await this.publisher.maintain(signal);
    return { isMapChanged: map.expirePreRestore(preRestoreAgeMsMax).length > 0 };
  }

  /**
   * A sweep spares what is young, since it may be somebody's who has only just read the map: so what the crash
   * left just before this opening is found by a second sweep, when it is old enough.
   */
  async #sweepIfDue(signal: AbortSignal): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#sweepAtMs) return;
    await this.#garbage.sweep(signal);
    this.#sweepAtMs = nowMs < this.#lastSweepFromMs ? this.#lastSweepFromMs : Infinity;
  }

  /** Closes the map. What `isStored` says is all in the bucket is let go there, so that the next opening is quick. */
  async close({ isStored, signal }: { isStored: boolean; signal: AbortSignal }): Promise<void> {
    const { map, capture, lease, record } = this.#opened;
    let isReleased = false;
    // What is not all in the bucket may not even be in a cut.
    const mapped = isStored ? this.#mappedUnits() : null;
    try {
      if (isStored) await this.publisher.release(signal);
      isReleased = isStored;
    } finally {
      // Closing folds the log into the file; then all of the file is in the bucket, or the next capture finds out.
      const isFolded = isReleased && capture.isCaughtUp();
      map.close();
      if (isFolded) capture.noteFolded();
      const wal = capture.position();
      capture.close();
      const { txid, syncedCut } = this.publisher;
      const released = { head: lease.head, txid, syncedCut, wal, isClean: true };
      const mapCheck = checkOfMap(this.#mapPath);
      if (mapCheck !== null) mapped?.save(dirname(this.#mapPath), mapCheck);
      await record.save({ mapCheck, ...(isReleased ? released : {}) });
    }
  }

  /** Which units the map has by now: every change of them that is in the bucket is in a cut. */
  #mappedUnits(): MappedUnits {
    const { map, mapped } = this.#opened;
    return mapped?.lastCut === map.lastCut ? mapped : MappedUnits.of(map);
  }
}

function policyFor(retentionMs: number): MaintenancePolicy {
  return { ...mapPolicy, retentionMs, levelZeroRetentionMs: retentionMs };
}
