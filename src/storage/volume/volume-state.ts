/** What opening a volume comes to. */
import type { BlockMap } from "../block-map/block-map.ts";
import type { LeaseClock } from "../lease/clock.ts";
import type { VolumeLease } from "../lease/volume-lease.ts";
import type { Chain } from "../litestream/database-replica.ts";
import type { WalCapture } from "../litestream/wal-capture.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { Held } from "./holding.ts";
import type { LocalRecord } from "./local-state.ts";
import type { MappedUnits } from "./mapped-units.ts";

/** Attributes that the volume keeps in the map for itself. */
export const ownAttributePrefix = "volume.";

export interface OpenStateOptions {
  store: ObjectStore;
  prefix: string;
  cacheDirectory: string;
  /** For a new volume. */
  sizeBytes: number;
  server: string;
  clock: LeaseClock;
}

export interface OpenedState {
  kind: "open";
  map: BlockMap;
  lease: VolumeLease;
  chain: Chain;
  capture: WalCapture;
  record: LocalRecord;
  /** The first transaction is yet to be shipped: the volume exists once it is. */
  isNew: boolean;
  /** Why local state was set aside; null when none was. */
  distrust: string | null;
  /** Nothing of a crash is left in the bucket, as far as this opening can know. */
  wasClean: boolean;
  /** Local state may have what the bucket has not. */
  isAhead: boolean;
  /** The newest cut that is known to be in the bucket; -1 for a new volume. */
  syncedCut: number;
  /** Which units the map has, if that is known without walking it. */
  mapped: MappedUnits | null;
}

/** Opened without the bucket, which is asked before anything is stored (late-claim.ts). */
export interface UnclaimedState extends Omit<OpenedState, "kind" | "lease" | "chain"> {
  kind: "unclaimed";
  claim: (signal: AbortSignal) => Promise<Held>;
}

export const mapName = "map.db";
export const stagingName = "staging";
/** Where snapshots are put together. */
export const scratchName = "scratch";
