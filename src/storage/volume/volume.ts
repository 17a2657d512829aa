/** The disk as a value: what an agent may do with it. `openVolume` (open-volume.ts) makes one. */
import type { ObjectStoreStatistics } from "../object-store/object-store.ts";
import type { GivenDescriptor } from "./fuse-front-end.ts";

export interface VolumeOptions {
  /** A directory's path, or its `file://` URL. */
  bucket: string;
  /** `sprites/<id>` or `images/<sha256>`. */
  prefix: string;
  /** Disposable; may be missing or empty. */
  cacheDirectory: string;
  cacheSizeBytesMax: number;
  /** Used when the volume does not exist yet; a multiple of 64 KiB. */
  sizeBytes: number;
  /** Never cuts, never uploads; FUSE answers writes with EROFS. */
  readOnly: boolean;
  /**
   * Read-only: another cache of this volume, whose owner may come back to it meanwhile. What is there need not be
   * fetched; it is believed by the map's checksums.
   */
  otherCacheDirectory?: string;
  syncIntervalMs: number;
  /** Whose `servers/<id>.json` says that the volume is held; missing where the bucket has one user only. */
  server?: string;
  /**
   * What this machine has of the volume is the newest there is, as far as the caller knows: an agent has died
   * that had it, and nobody else can have taken it since. Then it is opened without asking the bucket.
   */
  isStillOurs?: boolean;
  /** Changes what the volume was made with, or last set to: `local` in the beginning. */
  durability?: Durability;
}

/** When a flush of the guest is answered: with this machine's disk written, or when the bucket has it. */
export type Durability = "local" | "durable";

export interface CheckpointRecord {
  id: string;
  createTimeMs: number;
  comment: string;
  isAuto: boolean;
  /** It keeps what a restore replaced, and is deleted when it has grown old. */
  isPreRestore: boolean;
  /** The checkpoint that the live file descended from when this one was made; null for the first. */
  sourceId: string | null;
  /** Ancestors, nearest first. */
  history: string[];
  health: "" | "mount_failed";
  /** The cut that made it: it is in the bucket when `syncedCut` is not older. */
  cut: number;
  /** Bytes that it maps, in whole blocks. */
  sizeBytes: number;
  /** Bytes that nothing else holds: what deleting it frees, now or as its segments are rewritten. */
  uniqueBytes: number;
}

export interface VolumeStatistics {
  /** Bytes that the live file maps, in whole blocks. */
  usedBytes: number;
  dirtyBytes: number;
  cachedBytes: number;
  bucketBytes: number;
  lastCut: number;
  /** The checkpoint that the live file descends from; null before the first. */
  sourceId: string | null;
  syncedCut: number;
  /** Time of the newest cut that is in the bucket, ms since the epoch; null before the first. */
  syncedAtMs: number | null;
  /** The newest transaction of the map in the bucket. */
  txid: number;
  /** How often the volume has been opened for writing: names this holder. 0 when it is read-only. */
  generation: number;
  durability: Durability;
}

/** Requests that the volume has made since it was opened. */
export type BucketUse = ObjectStoreStatistics;

/** A cut that has been made: the guest may go on writing while it is stored. */
export interface PendingCheckpoint {
  /** Settles when the checkpoint is in the bucket. @throws SpriteError storage_failure, disk_full */
  completed: Promise<CheckpointRecord>;
}

export interface Volume {
  /**
   * Settles when one of the volume's threads has crashed. Its disk then answers nothing but errors:
   * whoever serves it ends the process, and the next one finds everything in the local state.
   */
  readonly died: Promise<Error>;
  /** True once `markFormatted` was committed: such a volume is never formatted again. */
  readonly formatted: boolean;
  markFormatted(): Promise<void>;
  /**
   * Mounts the FUSE file system; the disk appears as `<directory>/live`, shown checkpoints as
   * `<directory>/<id>`. A given descriptor may be mounted already: then its requests are served from
   * now on, those that a dead server left unanswered first.
   */
  mount(directory: string, given?: GivenDescriptor): Promise<void>;
  unmount(): Promise<void>;
  /** Makes a cut of everything written so far; settles when it is in the bucket. */
  sync(): Promise<void>;
  /** Counts for flushes from now on. Settles when in the bucket. */
  setDurability(durability: Durability): Promise<void>;
  /**
   * While relaxed, flushes are answered when this machine's disk has everything, whatever the durability,
   * also those that wait already. For whoever sees to it that no program is answered that was promised more.
   */
  relaxFlushes(isRelaxed: boolean): Promise<void>;
  /**
   * Makes the cut at once (the caller has frozen the guest's file system) and resolves; `completed`
   * tells the rest.
   */
  beginCheckpoint(options: {
    comment: string;
    isAuto: boolean;
    isPreRestore?: boolean;
  }): Promise<PendingCheckpoint>;
  listCheckpoints(): Promise<CheckpointRecord[]>;
  /** @throws SpriteError not_found, conflict (the live file descends directly from it) */
  deleteCheckpoint(id: string): Promise<void>;
  setCheckpointHealth(id: string, health: CheckpointRecord["health"]): Promise<void>;
  /**
   * Makes the checkpoint's content the live file. The caller has closed `live` (unmounted, loop
   * detached). Settles when in the bucket.
   */
  restore(id: string): Promise<void>;
  /** Makes `<directory>/<id>` readable as a read-only file, until hidden. */
  showCheckpoint(id: string): Promise<void>;
  hideCheckpoint(id: string): Promise<void>;
  statistics(): Promise<VolumeStatistics>;
  /** As of the last answer of `statistics`, and in the end of `close`; null before the first. */
  readonly lastSeen: { statistics: VolumeStatistics; use: BucketUse } | null;
  /**
   * Called when background storing fails and again when it recovers (null). The volume retries by
   * itself, unless the details say `isFenced`: then another writer has the volume, for good.
   */
  onProblem(listener: (problem: Error | null) => void): void;
  /** Unmounts, stores what is dirty (unless discard), stops the threads. */
  close(options: { discard: boolean }): Promise<void>;
}
