/** The endpoints that look at checkpoints: of a running sprite, and of the disk of one that sleeps. */
import {
  checkpointList,
  checkpointObject,
  currentCheckpointId,
  parseCheckpointListQuery,
  type CheckpointSource,
} from "../contract/checkpoint.ts";
import { errorResponse, SpriteError } from "../contract/errors.ts";
import type { CheckpointRecord } from "../storage/volume/volume.ts";
import { openNdjson, sendJson } from "./api/responses.ts";
import type { RequestContext, Route } from "./api/route.ts";
import type { CheckpointDiffs } from "./checkpoint-diff/checkpoint-diffs.ts";
import type { SyncState } from "./sync-state.ts";

export interface Checkpoints {
  /** Newest first. */
  listCheckpoints(): Promise<CheckpointRecord[]>;
  /** @throws SpriteError not_found */
  getCheckpoint(id: string): Promise<CheckpointRecord>;
}

interface Parts {
  checkpoints: Checkpoints;
  syncState: SyncState;
  diffs: CheckpointDiffs;
}

/** No process of the sprite is needed for any of them. */
export function checkpointReadRoutes(parts: Parts): Route[] {
  const route = (
    pattern: readonly string[],
    handle: (parts: Parts, context: RequestContext) => Promise<void>,
  ): Route => ({
    method: "GET",
    pattern: ["checkpoints", ...pattern],
    isQuiet: true,
    handle: (context) => handle(parts, context),
  });
  return [
    route([], list),
    route([":id"], get),
    { ...route([":id", "diff"], diff), holdsDisk: true },
  ];
}

/** @throws SpriteError not_found */
export function findCheckpoint(records: readonly CheckpointRecord[], id: string): CheckpointRecord {
  const record = records.find((candidate) => candidate.id === id);
  if (record === undefined) throw new SpriteError("not_found", `checkpoint not found: ${id}`);
  return record;
}

async function list(parts: Parts, { request, response }: RequestContext): Promise<void> {
  const { searchParams } = new URL(request.url ?? "/", "http://sprite");
  const query = parseCheckpointListQuery(searchParams);
  const records = await parts.syncState.describe(await parts.checkpoints.listCheckpoints());
  sendJson(response, 200, checkpointList(records, query));
}

async function get(parts: Parts, { params, response }: RequestContext): Promise<void> {
  const id = params["id"] ?? "";
  if (id === currentCheckpointId) {
    sendJson(response, 200, checkpointObject(await currentState(parts)));
    return;
  }
  const [record] = await parts.syncState.describe([await parts.checkpoints.getCheckpoint(id)]);
  if (record !== undefined) sendJson(response, 200, checkpointObject(record));
}

/** Each path that differs, and how many do; without `to`, from what there is now. */
async function diff(
  { checkpoints, diffs }: Parts,
  { params, query, request, response, log }: RequestContext,
): Promise<void> {
  const kept = async (id: string): Promise<string | null> =>
    id === currentCheckpointId ? null : (await checkpoints.getCheckpoint(id)).id;
  const from = await kept(params["id"] ?? "");
  const to = await kept(query.text("to") ?? currentCheckpointId);
  const stream = openNdjson(response);
  if (request.method !== "HEAD") {
    const { signal } = stream;
    await diffs
      .run({ from, to, signal }, async (lines) => await stream.sendEncoded(lines))
      .catch((error: unknown) => {
        if (signal.aborted) return;
        if (!(error instanceof SpriteError)) log.error({ err: error }, "the comparison failed");
        stream.send({ type: "error", error: errorResponse(error).body.message });
      });
  }
  stream.end();
}

/** The live state in a checkpoint's shape: it descends from the newest checkpoint of its line. */
async function currentState({ checkpoints, syncState }: Parts): Promise<CheckpointSource> {
  const { statistics, sync } = await syncState.read();
  const { sourceId, usedBytes } = statistics;
  const source = sourceId === null ? null : await checkpoints.getCheckpoint(sourceId);
  return {
    id: currentCheckpointId,
    createTimeMs: Date.now(),
    comment: "",
    isAuto: false,
    sourceId,
    history: source === null ? [] : [source.id, ...source.history],
    health: "",
    sizeBytes: usedBytes,
    isSynced: sync.synced,
    sync,
  };
}
