/** Checkpoints on the wire (contract.md section 5). */

import { SpriteError } from "./errors.ts";
import { checkpointCommentLengthMax } from "./limits.ts";
import { formatTimestamp } from "./timestamp.ts";

/** The id of the live state: served by id, left out of lists. */
export const currentCheckpointId = "Current";

/** What the id of a kept checkpoint looks like; the live state is none. */
export const checkpointIdPattern = /^v\d{1,15}$/;

export interface CheckpointObject {
  id: string;
  create_time: string;
  comment: string;
  history: string[];
  is_auto: boolean;
  source_id?: string;
  health: string;
  /** Beside the contract's fields, which clients of it do not read: what the checkpoint holds, in bytes. */
  size_bytes?: number;
  /** What deleting it would free. */
  unique_bytes?: number;
  /** False while it is on this machine only: losing the machine would lose it. */
  synced?: boolean;
  /** Only of `Current`. */
  sync?: SyncObject;
}

/** How much of the live disk is in the bucket. */
export interface SyncObject {
  /** True when nothing is on this machine only. */
  synced: boolean;
  /** Time of the newest state that is in the bucket. */
  synced_at: string | null;
  /** Bytes written since the last cut. */
  unsynced_bytes: number;
  /** Why nothing can be stored at the moment; null when it can. */
  sync_problem: string | null;
  /** True once another server has taken this disk over: nothing is stored from here any more. */
  fenced: boolean;
  /** Where a fenced disk's unsynced state was put aside, on this machine. */
  orphan?: string;
}

/** What the storage room knows of a checkpoint; its `CheckpointRecord` fits. */
export interface CheckpointSource {
  id: string;
  createTimeMs: number;
  comment: string;
  isAuto: boolean;
  sourceId: string | null;
  history: readonly string[];
  health: string;
  sizeBytes?: number;
  uniqueBytes?: number;
  isSynced?: boolean;
  sync?: SyncObject;
}

export function checkpointObject(record: CheckpointSource): CheckpointObject {
  const { sizeBytes, uniqueBytes, isSynced, sync } = record;
  return {
    id: record.id,
    create_time: formatTimestamp(record.createTimeMs),
    comment: record.comment,
    history: [...record.history],
    is_auto: record.isAuto,
    ...(record.sourceId === null ? {} : { source_id: record.sourceId }),
    health: record.health,
    ...(sizeBytes === undefined ? {} : { size_bytes: sizeBytes }),
    ...(uniqueBytes === undefined ? {} : { unique_bytes: uniqueBytes }),
    ...(isSynced === undefined ? {} : { synced: isSynced }),
    ...(sync === undefined ? {} : { sync }),
  };
}

export interface CheckpointListQuery {
  includeAuto: boolean;
  /** Only this checkpoint's lineage: itself and its ancestors. */
  lineageOf: string | null;
}

export function parseCheckpointListQuery(query: URLSearchParams): CheckpointListQuery {
  const includeAuto = query.get("includeAuto");
  const history = query.get("history");
  return {
    includeAuto: includeAuto === "true" || includeAuto === "1",
    lineageOf: history === null || history === "" ? null : history,
  };
}

/** `force=true` of a restore: without looking first whether the checkpoint would mount. */
export function parseForce(query: URLSearchParams): boolean {
  const force = query.get("force");
  return force === "true" || force === "1";
}

/** The bare array of `GET /checkpoints`: newest first; automatic ones only when asked for. */
export function checkpointList(
  records: readonly CheckpointSource[],
  query: CheckpointListQuery,
): CheckpointObject[] {
  const lineage = lineageIds(records, query.lineageOf);
  return records
    .filter((record) => query.includeAuto || !record.isAuto)
    .filter((record) => lineage === null || lineage.has(record.id))
    .toSorted((a, b) => b.createTimeMs - a.createTimeMs || compareIds(b.id, a.id))
    .map(checkpointObject);
}

function lineageIds(
  records: readonly CheckpointSource[],
  id: string | null,
): ReadonlySet<string> | null {
  if (id === null) return null;
  const record = records.find((candidate) => candidate.id === id);
  return new Set(record === undefined ? [] : [record.id, ...record.history]);
}

/** `v10` follows `v9`. */
function compareIds(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

/**
 * The body of a create; an empty one is fine. By hand, since a schema library would cost every
 * agent more memory than a thread does.
 * @throws SpriteError invalid_request
 */
export function parseCheckpointCreate(body: unknown): { comment: string } {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new SpriteError("invalid_request", "expected an object");
  }
  const comment = "comment" in body ? (body.comment ?? "") : "";
  if (typeof comment !== "string") {
    throw new SpriteError("invalid_request", "comment: expected a string");
  }
  if (comment.length > checkpointCommentLengthMax) {
    const message = `comment: at most ${checkpointCommentLengthMax} characters`;
    throw new SpriteError("invalid_request", message);
  }
  return { comment };
}

/** Lines of the create and restore streams; the last one is `complete` or `error`. */
export type CheckpointStreamEvent =
  | { type: "info" | "stdout" | "stderr" | "complete"; data: string; time: string }
  | { type: "error"; error: string; time: string };

export const checkpointEvent = {
  info: (data: string, timeMs: number): CheckpointStreamEvent => {
    return { type: "info", data, time: formatTimestamp(timeMs) };
  },
  complete: (data: string, timeMs: number): CheckpointStreamEvent => {
    return { type: "complete", data, time: formatTimestamp(timeMs) };
  },
  error: (error: string, timeMs: number): CheckpointStreamEvent => {
    return { type: "error", error, time: formatTimestamp(timeMs) };
  },
} as const;
