import type { CheckpointSource, SyncObject } from "../contract/checkpoint.ts";
import { SpriteError } from "../contract/errors.ts";
import { formatOptionalTimestamp } from "../contract/timestamp.ts";
import type { CheckpointRecord, Volume, VolumeStatistics } from "../storage/volume/volume.ts";

/** What of the disk is in the bucket, and what keeps the rest from getting there. */
export class SyncState {
  readonly #volume: Volume;
  #problem: Error | null = null;

  constructor(volume: Volume) {
    this.#volume = volume;
    volume.onProblem((problem) => {
      this.#problem = problem;
    });
  }

  async read(): Promise<{ statistics: VolumeStatistics; sync: SyncObject }> {
    const statistics = await this.#volume.statistics();
    return { statistics, sync: syncObject(statistics, this.#problem) };
  }

  /** Says of each checkpoint whether it is in the bucket: when the cut that made it is. */
  async describe(records: readonly CheckpointRecord[]): Promise<CheckpointSource[]> {
    const { syncedCut } = await this.#volume.statistics();
    return records.map((record) => ({ ...record, isSynced: record.cut <= syncedCut }));
  }
}

/** A fenced disk is never in the bucket, whatever was cut: what is there is somebody else's. */
export function syncObject(statistics: VolumeStatistics, problem: Error | null): SyncObject {
  const { dirtyBytes, lastCut, syncedCut, syncedAtMs } = statistics;
  const details = problem instanceof SpriteError ? problem.details : {};
  const fenced = details["isFenced"] === true;
  const { orphan } = details;
  return {
    synced: !fenced && dirtyBytes === 0 && lastCut <= syncedCut,
    synced_at: formatOptionalTimestamp(syncedAtMs),
    unsynced_bytes: dirtyBytes,
    sync_problem: problem === null ? null : problem.message,
    fenced,
    ...(typeof orphan === "string" ? { orphan } : {}),
  };
}
