import { SpriteError } from "../contract/errors.ts";
import type { CheckpointRecord } from "../storage/volume/volume.ts";
import { undoAgeMsMax } from "./limits.ts";

/**
 * The state before the last restore. An undo is a restore too, so the next one undoes it. What the disk
 * descends from is no such state: a restore that failed has gone back to it already.
 * @throws SpriteError not_found
 */
export function stateBeforeRestore(
  records: readonly CheckpointRecord[],
  { sourceId, nowMs }: { sourceId: string | null; nowMs: number },
): CheckpointRecord {
  const source = records.find(({ id }) => id === sourceId);
  const lineage = new Set(source === undefined ? [] : [source.id, ...source.history]);
  const newest = records
    .filter((record) => record.isPreRestore && !lineage.has(record.id))
    .reduce<CheckpointRecord | null>(
      (best, one) => (best === null || one.createTimeMs > best.createTimeMs ? one : best),
      null,
    );
  if (newest === null) throw new SpriteError("not_found", "there is no restore to undo");
  if (nowMs - newest.createTimeMs > undoAgeMsMax) {
    const message = "the last restore was more than a day ago: it cannot be undone any more";
    throw new SpriteError("not_found", message);
  }
  return newest;
}
