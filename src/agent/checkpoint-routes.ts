import { checkpointEvent, parseCheckpointCreate, parseForce } from "../contract/checkpoint.ts";
import { errorResponse, SpriteError } from "../contract/errors.ts";
import { formatTimestamp } from "../contract/timestamp.ts";
import { openNdjson, readJson, sendNoContent, type NdjsonStream } from "./api/responses.ts";
import type { RequestContext, Route } from "./api/route.ts";
import type { CheckpointDiffs } from "./checkpoint-diff/checkpoint-diffs.ts";
import { checkpointReadRoutes } from "./checkpoint-reads.ts";
import type { Progress, Sprite } from "./sprite.ts";
import type { SyncState } from "./sync-state.ts";

interface Parts {
  sprite: Sprite;
  syncState: SyncState;
  diffs: CheckpointDiffs;
}

/** The endpoints of contract.md section 5, the same outside and on the socket inside. */
export function checkpointRoutes(parts: Parts): Route[] {
  const { sprite } = parts;
  const one = ["checkpoints", ":id"] as const;
  return [
    ...checkpointReadRoutes({ ...parts, checkpoints: sprite }),
    { method: "POST", pattern: ["checkpoint"], handle: (context) => create(sprite, context) },
    { method: "DELETE", pattern: one, handle: (context) => remove(sprite, context) },
    { method: "POST", pattern: [...one, "restore"], handle: (context) => restore(sprite, context) },
    {
      method: "POST",
      pattern: ["restore-undo"],
      handle: (context) => undoRestore(sprite, context),
    },
    { method: "POST", pattern: ["repair"], handle: (context) => repair(sprite, context) },
  ];
}

async function create(sprite: Sprite, { request, response, log }: RequestContext): Promise<void> {
  const { comment } = parseCheckpointCreate(await readJson(request));
  const stream = openNdjson(response);
  await narrate(stream, log, async (progress) => {
    progress("Creating checkpoint...");
    const { id } = await sprite.createCheckpoint(comment);
    progress(`ID: ${id}`);
    return `Checkpoint ${id} created`;
  });
}

async function restore(sprite: Sprite, context: RequestContext): Promise<void> {
  const { params, request, response, log } = context;
  const id = params["id"] ?? "";
  const { searchParams } = new URL(request.url ?? "/", "http://sprite");
  const verifies = !parseForce(searchParams);
  await sprite.checkRestore(id);
  const stream = openNdjson(response);
  await narrate(stream, log, async (progress) => {
    await sprite.restore(id, progress, { verifies });
    return `Restored from ${id}`;
  });
}

async function undoRestore(sprite: Sprite, { response, log }: RequestContext): Promise<void> {
  const { id, comment, createTimeMs } = await sprite.findUndo(Date.now());
  await sprite.checkRestore(id);
  const stream = openNdjson(response);
  await narrate(stream, log, async (progress) => {
    progress(`Going back to ${id} (${comment}, ${formatTimestamp(createTimeMs)})...`);
    await sprite.restore(id, progress);
    return `Restored from ${id}, the state ${comment}`;
  });
}

async function repair(sprite: Sprite, { response, log }: RequestContext): Promise<void> {
  const stream = openNdjson(response);
  await narrate(stream, log, async (progress) => {
    const kept = await sprite.repair(progress);
    return `The file system is repaired; the state before is kept as ${kept.id}`;
  });
}

async function remove(sprite: Sprite, { params, response }: RequestContext): Promise<void> {
  await sprite.deleteCheckpoint(params["id"] ?? "");
  sendNoContent(response);
}

/**
 * Runs a long operation whose progress the client reads line by line. The last line is `complete`
 * or `error`, whatever happens. A client that goes away does not stop the operation: half a restore
 * helps nobody.
 */
async function narrate(
  stream: NdjsonStream,
  log: RequestContext["log"],
  operation: (progress: Progress) => Promise<string>,
): Promise<void> {
  try {
    const done = await operation((text) => stream.send(checkpointEvent.info(text, Date.now())));
    stream.send(checkpointEvent.complete(done, Date.now()));
  } catch (error) {
    if (!(error instanceof SpriteError)) log.error({ err: error }, "the operation failed");
    const { body } = errorResponse(error);
    stream.send(checkpointEvent.error(body.message, Date.now()));
  }
  stream.end();
}
