/** What a writable volume does with its bucket: publishing, tidying up, and letting go at the end. */
import { dirname, join } from "node:path";
import type { MaintenancePolicy } from "../litestream/database-replica.ts";
import { mapPolicy } from "../litestream/policies.ts";
import { Garbage } from "./garbage.ts";
import { collectIntervalMs, preRestoreAgeMsMax } from "./limits.ts";
import { Holding } from "./holding.ts";
import type { LocalState } from "./local-state.ts";
import { checkOfMap } from "./map-check.ts";
import { MappedUnits } from "./mapped-units.ts";
import { listChainOf, openChain, writerOf } from "./map-chain.ts";
import { refuseOlder } from "./open-state.ts";
import {
  mapName,
  scratchName,
  type OpenedState,
  type OpenStateOptions,
  type UnclaimedState,
} from "./volume-state.ts";
import { Publisher } from "./publisher.ts";
import type { Staging } from "./staging.ts";

export interface BucketSideOptions extends OpenStateOptions {
  staging: Staging;
  /** How long the past can be restored; segments live that long beyond their last name. */
  retentionMs: number;
}

export class BucketSide {
  readonly publisher: Publisher;
  readonly #opened: OpenedState | UnclaimedState;
  readonly #holding: Holding;
  readonly #garbage: Garbage;
  readonly #mapPath: string;
  readonly #options: Pick<BucketSideOptions, "store" | "prefix" | "clock" | "retentionMs">;
  /** When a crash's leavings are looked for next; infinity: there are none. */
  #sweepAtMs: number;
  /** By the monotonic clock: from then on no leavings can be so young that they are spared. */
  readonly #lastSweepFromMs: number;

  constructor(options: BucketSideOptions, opened: OpenedState | UnclaimedState) {
    const { store, prefix, clock, cacheDirectory, staging, retentionMs } = options;
    const { map, capture, record, syncedCut } = opened;
    this.#opened = opened;
    const holding = new Holding(opened.kind === "open" ? opened : opened.claim);
    this.#holding = holding;
    this.#mapPath = join(cacheDirectory, mapName);
    this.#options = { store, prefix, clock, retentionMs };
    this.#sweepAtMs = opened.wasClean ? Infinity : 0;
    this.#lastSweepFromMs =
      clock.monotonicMs() + retentionMs + Math.min(retentionMs, collectIntervalMs);
    const { nowMs } = clock;
    this.#garbage = new Garbage({ store, prefix, map, graceMs: retentionMs, nowMs });
    if (syncedCut >= 0) this.#garbage.synced(syncedCut);
    this.publisher = new Publisher({
      ...{ store, prefix, map, staging, holding, capture, syncedCut, nowMs },
      txidBefore: record.state.txid,
      syncedAtMs: syncedCut < 0 ? null : writtenAtMs(opened),
      policy: policyFor(retentionMs),
      scratchDirectory: join(cacheDirectory, scratchName),
      isOurs: async (txid) => {
        const writer = await writerOf(options, txid);
        return writer !== null && record.state.writers.includes(writer);
      },
      reopenChain: async (lease, txid) => {
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
    return this.#holding.held?.lease.head.value.generation ?? this.#opened.record.state.generation;
  }

  get localState(): Readonly<LocalState> {
    return this.#opened.record.state;
  }

  /**
   * Stores a segment at once, without the local disk. What is uploaded while nobody knows whose the volume is
   * would look like nobody's, so the volume is claimed first.
   * @throws FencedError, SpriteError storage_failure
   */
  async putSegment(id: number, bytes: Uint8Array): Promise<void> {
    const { store, prefix } = this.#options;
    await this.#holding.take(new AbortController().signal);
    await store.put(`${prefix}/${this.#opened.map.segmentKey(id)}`, bytes);
  }

  /** Everything that can wait; makes no request when nothing is due. @throws SpriteError storage_failure */
  async tidy(signal: AbortSignal): Promise<{ isMapChanged: boolean }> {
    const { map } = this.#opened;
    // What is tidied up is in the bucket, and must be ours.
    await this.#holding.take(signal);
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
    const isDone = await this.#garbage.sweep(signal);
    const againAtMs = isDone ? Infinity : nowMs + this.#options.retentionMs;
    this.#sweepAtMs = nowMs < this.#lastSweepFromMs ? this.#lastSweepFromMs : againAtMs;
  }

  /** Closes the map. What `isStored` says is all in the bucket is let go there, so that the next opening is quick. */
  async close({ isStored, signal }: { isStored: boolean; signal: AbortSignal }): Promise<void> {
    const { map, capture, record } = this.#opened;
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
      const head = this.#holding.held?.lease.head ?? record.state.head;
      const released = { head, txid, syncedCut, wal, isClean: true };
      // The bucket may have been told without our hearing of it: then others may have the volume from now on.
      const unsure = isStored
        ? { head: head && { ...head, value: { ...head.value, holder: null } } }
        : {};
      const mapCheck = checkOfMap(this.#mapPath);
      if (mapCheck !== null) mapped?.save(dirname(this.#mapPath), mapCheck);
      await record.save({ mapCheck, ...(isReleased ? released : unsure) });
    }
  }

  /** Which units the map has by now: every change of them that is in the bucket is in a cut. */
  #mappedUnits(): MappedUnits {
    const { map, mapped } = this.#opened;
    return mapped?.lastCut === map.lastCut ? mapped : MappedUnits.of(map);
  }
}

/** When what is in the bucket was stored, at the latest. */
function writtenAtMs(opened: OpenedState | UnclaimedState): number | null {
  if (opened.kind === "open") return opened.lease.previous?.writtenAtMs ?? null;
  return opened.record.state.head?.value.writtenAtMs ?? null;
}

function policyFor(retentionMs: number): MaintenancePolicy {
  return { ...mapPolicy, retentionMs, levelZeroRetentionMs: retentionMs };
}
