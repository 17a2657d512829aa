/** Sprites and the server itself: what the front door answers. */
import { z } from "zod";

import type { ActivityObject } from "../activity.ts";
import { archiveContentType } from "../archive.ts";
import { durabilities } from "../durability.ts";
import { scheduleSchema, type ScheduleObject } from "../schedule.ts";
import {
  spriteCreateSchema,
  spriteUpdateSchema,
  type OrganizationCounters,
  type SpriteCheckObject,
  type SpriteListObject,
  type SpriteObject,
  type SpriteWatchLine,
} from "../sprite.ts";
import { syncSchema } from "./checkpoints.ts";
import { json, named, ndjson, timeSchema, type Endpoint, type Parameter } from "./endpoint.ts";

const statusSchema = z
  .enum(["cold", "warm", "running"])
  .describe("cold: no process; warm: suspended with its memory; running");

const activitySchema: z.ZodType<ActivityObject> = named(
  "Activity",
  z.object({
    status: statusSchema,
    awake_because: z
      .array(
        z.object({
          kind: z.enum([
            ...["command", "terminal", "request", "connection", "task"],
            ...["processor", "network", "disk"],
          ] as ActivityObject["awake_because"][number]["kind"][]),
          name: z.string(),
          since: timeSchema,
        }),
      )
      .describe("what holds it awake now; empty when nothing does"),
    idle_since: timeSchema.nullable(),
    idle_window_seconds: z.number().nullable().describe("null: it is never suspended"),
    sleeps_at: timeSchema.nullable().describe("when it is suspended if nothing happens"),
    slept_at: timeSchema.nullable(),
    slept_because: z.string().nullable(),
    woke_at: timeSchema.nullable(),
    woke_because: z.string().nullable(),
    transition: z
      .object({ to: statusSchema, since: timeSchema })
      .nullable()
      .describe("the status that it is on the way to; null: it is on no way"),
  }),
);

const spriteSchema: z.ZodType<SpriteObject> = named(
  "Sprite",
  z.object({
    id: z.string(),
    name: z.string(),
    organization: z.string().describe("the organization's slug"),
    org_slug: z.string(),
    url: z.string().describe("where the sprite's own web server is reached"),
    url_settings: z.object({
      auth: z.enum(["sprite", "public"]),
      private_access: z.enum(["admins", "org_users"]).exactOptional(),
    }),
    status: statusSchema,
    config: z.object({
      ram_mb: z.int().exactOptional(),
      cpus: z.int().exactOptional(),
      region: z.string().exactOptional(),
      storage_gb: z.int().exactOptional(),
    }),
    environment: z.record(z.string(), z.string()),
    labels: z.array(z.string()),
    durability: z.enum(durabilities).describe("what an fsync inside waits for"),
    idle_window: z
      .string()
      .describe("idle for so long it is suspended: a duration, off, or default (the server's)"),
    version: z.string(),
    created_at: timeSchema,
    updated_at: timeSchema,
    last_running_at: timeSchema.nullable(),
    last_warming_at: timeSchema.nullable(),
  }),
);

const counts = {
  running: z.int(),
  warm: z.int(),
  cold: z.int(),
  running_limit: z
    .int()
    .exactOptional()
    .describe("how many may run or be warm at once, together; absent when there is no limit"),
  warm_limit: z.int().exactOptional(),
};

const countersSchema: z.ZodType<OrganizationCounters> = named(
  "Counters",
  z.object({ name: z.string(), ...counts }),
);

const listSchema: z.ZodType<SpriteListObject> = named(
  "SpriteList",
  z.object({
    sprites: z.array(spriteSchema),
    has_more: z.boolean(),
    next_continuation_token: z.string().nullable(),
    name: z.string(),
    ...counts,
    org: countersSchema,
  }),
);

const watchLineSchema: z.ZodType<SpriteWatchLine> = named(
  "WatchLine",
  z.object({
    type: z.literal("heartbeat").exactOptional(),
    name: z.string().exactOptional(),
    status: z.enum(["cold", "warm", "running", "deleted"]).exactOptional(),
    running_version: z.string().exactOptional(),
    last_running_at: timeSchema.nullable().exactOptional(),
    last_warming_at: timeSchema.nullable().exactOptional(),
    timestamp: timeSchema,
    org: countersSchema,
  }),
);

const checkSchema: z.ZodType<SpriteCheckObject> = named(
  "Check",
  z.object({
    sprite_name: z.string(),
    sprite_id: z.string(),
    status: z.string().describe("ok, or what is wrong"),
    reason: z.string().nullable(),
    checked_at: timeSchema,
    elapsed: z.number().nullable().describe("seconds"),
    sync: syncSchema.exactOptional(),
    choices: z
      .array(z.string())
      .exactOptional()
      .describe("what helps a sprite that does not start: repair, restore"),
    held_awake_by: z
      .array(z.object({ kind: z.string(), name: z.string(), until: timeSchema }))
      .exactOptional()
      .describe("what keeps a running sprite from being put to sleep"),
  }),
);

const scheduleAnswer: z.ZodType<ScheduleObject> = named(
  "Schedule",
  z.object({
    cron: z.string().nullable().describe("five fields, in UTC"),
    at: timeSchema.nullable(),
    next_at: timeSchema.nullable().describe("when it is woken next; null: not again"),
  }),
);

const lifecycleSchema = named(
  "Lifecycle",
  z.object({ sprite_name: z.string(), machine_id: z.string(), message: z.string() }),
);

const listQuery: readonly Parameter[] = [
  { name: "prefix", text: "only names that begin so", schema: z.string() },
  {
    name: "label",
    text: "only sprites that have it; several: all of them",
    schema: z.string(),
    repeats: true,
  },
  { name: "max_results", text: "1 to 50; what is out of range is clamped", schema: z.int() },
  { name: "continuation_token", text: "from the page before", schema: z.string() },
];

const one = "/v1/sprites/{name}";
const limitErrors = ["sprite_creation_rate_limited", "concurrent_sprite_limit_exceeded"] as const;
const createExample = { name: "my-sprite", labels: ["ci"], environment: { STAGE: "test" } };

export const spriteEndpoints: readonly Endpoint[] = [
  {
    method: "POST",
    path: "/v1/sprites",
    summary: "Make a sprite, or a fork of one",
    text: "`from` names the sprite, and perhaps its checkpoint, whose disk the new one begins with.",
    body: json(spriteCreateSchema, createExample),
    answers: { 201: json(spriteSchema) },
    errors: ["already_exists", "unavailable", "start_failed", "disk_full", ...limitErrors],
  },
  {
    method: "GET",
    path: "/v1/sprites",
    summary: "List the organization's sprites, by name; or watch them",
    text: "With `Accept: application/x-ndjson` it stays open: a line for each sprite, then one for each change.",
    query: listQuery,
    answers: { 200: json(listSchema) },
  },
  {
    method: "GET",
    path: one,
    summary: "One sprite",
    answers: { 200: json(spriteSchema) },
  },
  {
    method: "PUT",
    path: one,
    summary: "Change URL settings, labels, durability or the idle window",
    text: "What is left out stays.",
    body: json(spriteUpdateSchema, { labels: ["ci", "nightly"] }),
    answers: { 200: json(spriteSchema) },
    errors: ["storage_failure"],
  },
  {
    method: "DELETE",
    path: one,
    summary: "Destroy a sprite with its disk and checkpoints",
    answers: { 204: null },
  },
  {
    method: "POST",
    path: `${one}/restart`,
    summary: "Boot the sprite anew: processes end, the disk stays",
    answers: { 200: json(lifecycleSchema) },
    errors: ["start_failed", "unavailable"],
  },
  {
    method: "POST",
    path: `${one}/sleep`,
    summary:
      "Put the sprite to sleep now: processes end, services in order, and the disk is stored",
    text: "Requests under way end first. A command that runs, or a task, keeps it awake: 409 with `held_by`, unless it is forced.",
    query: [
      {
        name: "force",
        text: "true: also when a command runs or a task holds it",
        schema: z.enum(["true", "false"]),
      },
    ],
    answers: { 200: json(lifecycleSchema) },
    errors: ["busy", "unavailable"],
  },
  {
    method: "GET",
    path: `${one}/schedule`,
    summary: "When the sprite is woken by itself",
    answers: { 200: json(scheduleAnswer) },
  },
  {
    method: "PUT",
    path: `${one}/schedule`,
    summary: "Have the sprite woken by itself",
    text: "By a cron expression (UTC), at one moment, or both. What was due while the server was down is made up for once.",
    body: json(scheduleSchema, { cron: "0 6 * * 1-5" }),
    answers: { 200: json(scheduleAnswer) },
  },
  {
    method: "DELETE",
    path: `${one}/schedule`,
    summary: "Have the sprite woken by itself no more",
    answers: { 204: null },
  },
  {
    method: "GET",
    path: `${one}/activity`,
    summary: "What keeps the sprite awake, or why it was suspended and woken; does not wake it",
    answers: { 200: json(activitySchema) },
  },
  {
    method: "POST",
    path: `${one}/upgrade`,
    summary: "Bring a running sprite to this server's version",
    answers: { 200: json(lifecycleSchema) },
    errors: ["start_failed", "unavailable"],
  },
  {
    method: "GET",
    path: `${one}/check`,
    summary: "How the sprite is, and what of its disk is in the bucket; does not wake it",
    answers: { 200: json(checkSchema) },
  },
  {
    method: "GET",
    path: `${one}/export`,
    summary: "The sprite in one file: disk, checkpoints, settings",
    answers: { 200: { type: archiveContentType } },
    errors: ["unavailable", "storage_failure"],
  },
  {
    method: "POST",
    path: `${one}/import`,
    summary: "Make a sprite of an exported file",
    body: { type: archiveContentType },
    answers: { 201: json(spriteSchema) },
    errors: ["already_exists", "storage_failure", "disk_full"],
  },
];

const healthSchema = z.object({ status: z.string() });
const readySchema = z.object({
  status: z.string().describe("ok, starting, stopping, drained, not_ready"),
  problems: z
    .array(z.string())
    .exactOptional()
    .describe("bucket_unreachable, image_not_mounted, network_down, registry_not_replicated"),
});

export const serverEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    path: "/healthz",
    summary: "The server lives",
    auth: "none",
    answers: { 200: json(healthSchema) },
  },
  {
    method: "GET",
    path: "/readyz",
    summary: "The server takes requests",
    auth: "none",
    answers: { 200: json(readySchema), 503: json(readySchema) },
  },
  {
    method: "GET",
    path: "/metrics",
    summary: "Counts and durations of the whole server, in Prometheus's text format",
    text: "`Authorization: Bearer <admin secret>`. With --metrics-listen also there, without it.",
    auth: "admin",
    answers: { 200: { type: "text/plain" } },
  },
  {
    method: "GET",
    path: "/openapi.json",
    summary: "This document",
    auth: "none",
    answers: { 200: json(z.looseObject({ openapi: z.string() })) },
  },
  {
    method: "GET",
    path: "/llms.txt",
    summary: "What this server is and how to use it, for agents",
    auth: "none",
    answers: { 200: { type: "text/plain" } },
  },
];

/** What a client that asks for NDJSON gets of the list; OpenAPI has one content for each type. */
export const watchContent = ndjson(watchLineSchema, "One line for each sprite and change.");
