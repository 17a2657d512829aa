/**
 * Brings committed cuts to the bucket: segments first, then what changed in the map as the next transaction
 * of the chain, which only one writer can create. At every instant the chain names only what is there.
 */
import { mkdir } from "node:fs/promises";
import type { BlockMap } from "../block-map/block-map.ts";
import { isFenced } from "../lease/fenced-error.ts";
import type { HeadFile } from "../lease/head.ts";
import type { VolumeLease } from "../lease/volume-lease.ts";
import type {
  Capture,
  CapturedChange,
  Chain,
  MaintenancePolicy,
  Position,
} from "../litestream/database-replica.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { Held, Holding } from "./holding.ts";
import type { ChainState } from "./boot-file.ts";
import { uploadsAtOnceMax } from "./limits.ts";
import { hintOf } from "./map-chain.ts";
import type { Staging } from "./staging.ts";

export interface PublisherOptions {
  store: ObjectStore;
  prefix: string;
  map: BlockMap;
  staging: Staging;
  holding: Holding;
  /** The newest transaction that was known to be in the bucket when the volume was opened. */
  txidBefore: number;
  capture: Capture;
  policy: MaintenancePolicy;
  scratchDirectory: string;
  /** The newest cut that was in the bucket when the volume was opened; -1 for a new volume. */
  syncedCut: number;
  syncedAtMs: number | null;
  /** Node ids of earlier processes on this local state: all that they have made is in it. */
  isOurs: (txid: number) => Promise<boolean>;
  /** Reads the chain again, after that transaction of such a process. */
  reopenChain: (lease: VolumeLease, txid: number) => Promise<Chain>;
  /** Called when everything up to the cut is in the bucket. */
  onSynced: (cut: number) => Promise<void>;
  nowMs: () => number;
}

export class Publisher {
  readonly #options: PublisherOptions;
  #syncedCut: number;
  #syncedAtMs: number | null;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#syncedCut = options.syncedCut;
    this.#syncedAtMs = options.syncedAtMs;
  }

  /** The newest cut in the bucket; -1 before the first. */
  get syncedCut(): number {
    return this.#syncedCut;
  }

  get syncedAtMs(): number | null {
    return this.#syncedAtMs;
  }

  /** The newest transaction in the bucket, as far as we know; 0 before the first. */
  get txid(): number {
    const { holding, txidBefore } = this.#options;
    return holding.held === null ? txidBefore : (holding.held.chain.position?.txid ?? 0);
  }

  /**
   * Stores everything that is committed at the time of the call.
   * @throws SpriteError storage_failure, FencedError
   */
  async publish(signal: AbortSignal): Promise<void> {
    const { map, staging, capture, holding } = this.#options;
    const held = await holding.take(signal);
    // One instant: the change names the segments that wait now; later cuts may go on meanwhile.
    const cut = map.lastCut;
    const waiting = staging.waiting();
    const change = capture.capture();
    await this.#upload(waiting, signal);
    if (change !== null) {
      const { txid } = await this.#ship(held, change, signal);
      capture.advance(change, txid);
    }
    this.#syncedCut = cut;
    this.#syncedAtMs = this.#options.nowMs();
    capture.truncateIfLong();
    await this.#options.onSynced(cut);
  }

  /** A store may complete a request of a process that has died since: that transaction is no other's. */
  async #ship(held: Held, change: CapturedChange, signal: AbortSignal): Promise<Position> {
    const { holding } = this.#options;
    try {
      return await held.chain.ship(change, signal);
    } catch (error) {
      const txid = this.txid + 1;
      if (!isFenced(error) || !(await this.#options.isOurs(txid))) throw error;
      const chain = await this.#options.reopenChain(held.lease, txid);
      // Behind it there may be one of a machine that has taken over since: this change does not follow that.
      for (let later = txid + 1; later <= (chain.position?.txid ?? 0); later++) {
        if (!(await this.#options.isOurs(later))) throw error;
      }
      return await holding.replaceChain(held, chain).chain.ship(change, signal);
    }
  }

  async #upload(segments: readonly number[], signal: AbortSignal): Promise<void> {
    const { store, prefix, map, staging } = this.#options;
    const queue = [...segments];
    const work = async (): Promise<void> => {
      for (let segment = queue.shift(); segment !== undefined; segment = queue.shift()) {
        const key = `${prefix}/${map.segmentKey(segment)}`;
        await staging.restoreName(segment);
        await store.putFile(key, staging.path(segment), { signal });
        staging.uploaded(segment);
      }
    };
    await Promise.all(Array.from({ length: uploadsAtOnceMax }, work));
  }

  /**
   * Merges and deletes files of the chain, and makes a snapshot when it is due, after which the head names it.
   * @throws SpriteError storage_failure, FencedError
   */
  async maintain(signal: AbortSignal): Promise<void> {
    const { capture, policy, scratchDirectory, holding } = this.#options;
    const { lease, chain } = await holding.take(signal);
    // It goes with the rest when somebody deletes the cache.
    await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
    const image = (): ReturnType<Capture["image"]> => capture.image();
    const { snapshotTxid } = await chain.maintain(policy, {
      image,
      scratchDirectory,
      signal,
    });
    if (snapshotTxid !== null) await lease.update(hintAfter(chain), signal);
  }

  /** The state that the head names when the volume is let go now; null while that is not known. */
  get chainState(): ChainState | null {
    const { held } = this.#options.holding;
    return held === null ? null : hintAfter(held.chain);
  }

  /** Lets go of the volume: everything is in the bucket. @throws SpriteError storage_failure, FencedError */
  async release(signal: AbortSignal): Promise<void> {
    const { lease, chain } = await this.#options.holding.take(signal);
    await lease.release(hintAfter(chain), signal);
  }
}

function hintAfter(chain: Chain): { txid: number; files: HeadFile[]; legacyMap: null } {
  return { txid: chain.position?.txid ?? 0, files: hintOf(chain), legacyMap: null };
}
