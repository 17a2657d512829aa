import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointSource, SyncObject } from "../contract/checkpoint.ts";
import { SpriteError } from "../contract/errors.ts";
import { formatOptionalTimestamp } from "../contract/timestamp.ts";
import type { CheckpointRecord, Volume, VolumeStatistics } from "../storage/volume/volume.ts";

/** What of the disk is in the bucket, and what keeps the rest from getting there. */
export class SyncState {
  readonly #volume: Volume;
  readonly #cacheDirectory: string;
  #problem: Error | null = null;

  constructor({ volume, cacheDirectory }: { volume: Volume; cacheDirectory: string }) {
    this.#volume = volume;
    this.#cacheDirectory = cacheDirectory;
    volume.onProblem((problem) => {
      this.#problem = problem;
    });
  }

  async read(): Promise<{ statistics: VolumeStatistics; sync: SyncObject }> {
    const statistics = await this.#volume.statistics();
    const orphan = await this.#newestOrphan();
    return { statistics, sync: syncObject(statistics, { problem: this.#problem, orphan }) };
  }

  /** Local state of this sprite that another server's put out of use, until somebody removes it. */
  async #newestOrphan(): Promise<string | null> {
    const names = await readdir(this.#cacheDirectory).catch(() => []);
    const newest = names
      .filter((name) => name.startsWith("orphan-"))
      .toSorted()
      .at(-1);
    return newest === undefined ? null : join(this.#cacheDirectory, newest);
  }

  /** Says of each checkpoint whether it is in the bucket: when the cut that made it is. */
  async describe(records: readonly CheckpointRecord[]): Promise<CheckpointSource[]> {
    const { syncedCut } = await this.#volume.statistics();
    return records.map((record) => ({ ...record, isSynced: record.cut <= syncedCut }));
  }
}

/** A fenced disk is never in the bucket, whatever was cut: what is there is somebody else's. */
export function syncObject(
  statistics: VolumeStatistics,
  { problem, orphan }: { problem: Error | null; orphan: string | null },
): SyncObject {
  const { dirtyBytes, lastCut, syncedCut, syncedAtMs } = statistics;
  const details = problem instanceof SpriteError ? problem.details : {};
  const fenced = details["isFenced"] === true;
  return {
    synced: !fenced && dirtyBytes === 0 && lastCut <= syncedCut,
    synced_at: formatOptionalTimestamp(syncedAtMs),
    unsynced_bytes: dirtyBytes,
    sync_problem: problem === null ? null : problem.message,
    fenced,
    ...(orphan === null ? {} : { orphan }),
  };
}
