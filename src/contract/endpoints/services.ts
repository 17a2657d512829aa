/** Services: the same from outside and on the socket inside (contract.md section 6). */
import { z } from "zod";

import {
  environmentKeyLengthMax,
  serviceArgumentsMax,
  serviceNameLengthMax,
  serviceNeedsMax,
} from "../limits.ts";
import { parseSignal } from "../signals.ts";
import { durationSchema, json, named, ndjson, timeSchema, type Endpoint } from "./endpoint.ts";

const nameSchema = z
  .string()
  .max(serviceNameLengthMax)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);

const textSchema = z.string().regex(/^[^\0]*$/);
const variableSchema = z
  .string()
  .max(environmentKeyLengthMax)
  .regex(/^[^=\0]+$/);

const definition = {
  cmd: textSchema.min(1).describe("a program, looked up on PATH; arguments are apart"),
  args: z.array(textSchema).max(serviceArgumentsMax),
  env: z.record(variableSchema, textSchema).describe("besides the sprite's own variables"),
  dir: textSchema
    .exactOptional()
    .describe("the home directory when absent; a relative one is below it"),
  needs: z
    .array(nameSchema)
    .max(serviceNeedsMax)
    .describe("services that are started before this one"),
  http_port: z.int().min(1).max(65_535).nullable().describe("at most one service has one"),
};

/** For whoever describes the same fields elsewhere. */
export const serviceFields = { name: nameSchema, ...definition };

const requestSchema = named(
  "ServiceRequest",
  z.object({
    ...definition,
    args: definition.args.nullish(),
    env: definition.env.nullish(),
    dir: textSchema.nullish(),
    needs: definition.needs.nullish(),
    http_port: definition.http_port.optional(),
  }),
);

const serviceSchema = named(
  "Service",
  z.object({
    name: nameSchema,
    ...definition,
    state: z.object({
      name: nameSchema,
      status: z.enum(["stopped", "starting", "running", "stopping", "failed"]),
      pid: z.int().nullable(),
      started_at: timeSchema.nullable(),
      error: z.string().describe("why it does not run; empty when all is as it was asked for"),
      restart_count: z.int().describe("since somebody started it"),
      next_restart_at: timeSchema.nullable(),
      exit_code: z.int().nullable().describe("of its last process; 128 + n after signal n"),
    }),
  }),
);

const timestampSchema = z.int().describe("milliseconds since the epoch");
const eventSchema = named(
  "ServiceEvent",
  z.union([
    z.object({ type: z.enum(["started", "stopping"]), timestamp: timestampSchema }),
    z.object({
      type: z.enum(["stdout", "stderr", "error"]),
      data: z.string(),
      timestamp: timestampSchema,
    }),
    z.object({
      type: z.enum(["exit", "stopped"]),
      exit_code: z.int().describe("-1 when nobody saw it"),
      timestamp: timestampSchema,
    }),
    z.object({
      type: z.literal("complete"),
      log_files: z.record(z.enum(["stdout", "stderr", "combined"]), z.string()),
      timestamp: timestampSchema,
    }),
  ]),
);

const events = ndjson(
  eventSchema,
  "The last line is `complete`; an `error` before it says that it failed.",
);
const signalSchema = z
  .union([z.string(), z.int()])
  .refine((signal) => parseSignal(signal) !== null)
  .describe("TERM, SIGTERM or 15");
const base = "/v1/sprites/{name}/services";
const one = `${base}/{service}`;
const startErrors = ["unavailable", "start_failed", "storage_failure"] as const;
const watch = {
  name: "duration",
  text: "how long to tell what happens; 5s when absent",
  schema: durationSchema,
};
const patience = {
  name: "timeout",
  text: "from SIGTERM to SIGKILL; 10s when absent",
  schema: durationSchema,
};

export const serviceEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    path: base,
    summary: "List services",
    inside: "too",
    answers: { 200: json(z.array(serviceSchema)) },
    errors: startErrors,
  },
  {
    method: "GET",
    path: one,
    summary: "One service",
    inside: "too",
    answers: { 200: json(serviceSchema) },
    errors: startErrors,
  },
  {
    method: "PUT",
    path: one,
    summary: "Create or replace a service, and start it",
    text: "One that runs with the same definition goes on running.",
    inside: "too",
    query: [watch],
    body: json(requestSchema, {
      cmd: "python3",
      args: ["-m", "http.server", "3000"],
      http_port: 3000,
    }),
    answers: { 200: events },
    errors: ["conflict", "disk_full", ...startErrors],
  },
  {
    method: "DELETE",
    path: one,
    summary: "Stop and forget a service; its log stays",
    inside: "too",
    query: [patience],
    answers: { 204: null },
    errors: ["conflict", "disk_full", ...startErrors],
  },
  {
    method: "POST",
    path: `${one}/start`,
    summary: "Start a service and what it needs",
    inside: "too",
    query: [watch],
    answers: { 200: events },
    errors: startErrors,
  },
  {
    method: "POST",
    path: `${one}/stop`,
    summary: "Stop a service until it is started again, whatever is restarted meanwhile",
    inside: "too",
    query: [patience],
    answers: { 200: events },
    errors: ["conflict", ...startErrors],
  },
  {
    method: "POST",
    path: `${one}/restart`,
    summary: "Stop a service and start it",
    inside: "too",
    query: [watch],
    answers: { 200: events },
    errors: startErrors,
  },
  {
    method: "GET",
    path: `${one}/logs`,
    summary: "The last lines of a service's log, and those that follow",
    inside: "too",
    query: [
      { name: "lines", text: "100 when absent", schema: z.int().min(0) },
      {
        name: "duration",
        text: "how long to follow; not at all when absent",
        schema: durationSchema,
      },
    ],
    answers: { 200: events },
    errors: startErrors,
  },
  {
    method: "POST",
    path: `${base}/signal`,
    summary: "Signal a service's process",
    inside: "too",
    body: json(z.object({ name: nameSchema, signal: signalSchema }), {
      name: "web",
      signal: "HUP",
    }),
    answers: { 204: null },
    errors: ["conflict", ...startErrors],
  },
];
