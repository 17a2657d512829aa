/** Checkpoints: the same from outside and on the socket inside (contract.md section 5). */
import { z } from "zod";

import type { CheckpointObject, CheckpointStreamEvent, SyncObject } from "../checkpoint.ts";
import type { DiffLine } from "../checkpoint-diff.ts";
import { checkpointCommentLengthMax } from "../limits.ts";
import {
  flagSchema,
  json,
  named,
  ndjson,
  optional,
  startErrors,
  timeSchema,
  type Endpoint,
} from "./endpoint.ts";

export const syncSchema: z.ZodType<SyncObject> = named(
  "Sync",
  z.object({
    synced: z.boolean().describe("nothing is on this machine only"),
    synced_at: timeSchema.nullable(),
    unsynced_bytes: z.int(),
    sync_problem: z.string().nullable(),
    fenced: z.boolean().describe("another server has taken the disk over"),
    orphan: z.string().exactOptional(),
  }),
);

const checkpointSchema: z.ZodType<CheckpointObject> = named(
  "Checkpoint",
  z.object({
    id: z.string(),
    create_time: timeSchema,
    comment: z.string(),
    history: z.array(z.string()).describe("ancestors, the nearest first"),
    is_auto: z.boolean(),
    source_id: z.string().exactOptional(),
    health: z.string().describe("empty when all is well"),
    size_bytes: z.int().exactOptional(),
    unique_bytes: z.int().exactOptional().describe("what deleting it would free"),
    synced: z.boolean().exactOptional(),
    sync: syncSchema.exactOptional(),
  }),
);

const eventSchema: z.ZodType<CheckpointStreamEvent> = named(
  "CheckpointEvent",
  z.union([
    z.object({
      type: z.enum(["info", "stdout", "stderr", "complete"]),
      data: z.string(),
      time: timeSchema,
    }),
    z.object({ type: z.literal("error"), error: z.string(), time: timeSchema }),
  ]),
);

const diffLineSchema: z.ZodType<DiffLine> = named(
  "CheckpointDiffLine",
  z.union([
    z.object({
      type: z.enum(["added", "changed", "removed"]),
      path: z.string(),
      kind: z.enum(["file", "directory", "symlink", "other"]),
      size: z.int().describe("in bytes"),
      old_size: z.int().exactOptional().describe("of what has changed"),
    }),
    z.object({
      type: z.literal("complete"),
      ...{ added: z.int(), changed: z.int(), removed: z.int() },
    }),
    z.object({ type: z.literal("error"), error: z.string() }),
  ]),
);

const checkpointCreateSchema = z.object({
  comment: z.string().max(checkpointCommentLengthMax).nullish(),
});

const events = ndjson(
  eventSchema,
  "The last line is `complete` or `error`; nothing else is an end.",
);
const base = "/v1/sprites/{name}";
const one = `${base}/checkpoints/{id}`;

export const checkpointEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    path: `${base}/checkpoint`,
    summary: "Save the disk as it is now",
    inside: "too",
    body: optional(json(checkpointCreateSchema, { comment: "before the upgrade" })),
    answers: { 200: events },
    errors: startErrors,
  },
  {
    method: "GET",
    path: `${base}/checkpoints`,
    summary: "List checkpoints, newest first",
    inside: "too",
    query: [
      { name: "history", text: "only this one and its ancestors", schema: z.string() },
      { name: "includeAuto", text: "also those the sprite made itself", schema: flagSchema },
    ],
    answers: { 200: json(z.array(checkpointSchema)) },
    errors: startErrors,
  },
  {
    method: "GET",
    path: one,
    summary: "One checkpoint; `Current` is the live state",
    inside: "too",
    answers: { 200: json(checkpointSchema) },
    errors: startErrors,
  },
  {
    method: "DELETE",
    path: one,
    summary: "Delete a checkpoint",
    inside: "too",
    answers: { 204: null },
    errors: ["conflict", ...startErrors],
  },
  {
    method: "GET",
    path: `${one}/diff`,
    summary: "The paths in which a checkpoint and another one, or the live state, differ",
    text: "Directories come before what is in them. Nothing is restored for it, and no content is read.",
    inside: "too",
    query: [
      { name: "to", text: "another checkpoint; the live state when absent", schema: z.string() },
    ],
    answers: {
      200: ndjson(
        diffLineSchema,
        "The last line is `complete` or `error`; nothing else is an end.",
      ),
    },
    errors: startErrors,
  },
  {
    method: "POST",
    path: `${one}/restore`,
    summary: "Go back to a checkpoint; processes end",
    inside: "too",
    query: [{ name: "force", text: "do not verify it first", schema: flagSchema }],
    answers: { 200: events },
    errors: ["busy", ...startErrors],
  },
  {
    method: "POST",
    path: `${base}/restore-undo`,
    summary: "Go back to the state before the last restore, within a day",
    inside: "too",
    answers: { 200: events },
    errors: ["busy", ...startErrors],
  },
  {
    method: "POST",
    path: `${base}/repair`,
    summary: "Repair a file system that does not mount; files that cannot be saved are lost",
    inside: "too",
    answers: { 200: events },
    errors: startErrors,
  },
];
