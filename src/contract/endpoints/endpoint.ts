/**
 * How an endpoint describes itself: once, for OpenAPI and for the tests that hold server and document together.
 * Only the front door loads these files, and only when somebody asks for the document: agents do not.
 */
import { z } from "zod";

import type { ErrorCode } from "../errors.ts";

export interface Endpoint {
  /** `WS`: a GET that becomes a WebSocket. */
  method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "WS";
  /** `{name}` takes one segment. */
  path: string;
  summary: string;
  /** Whatever a caller must know besides; for a WebSocket its messages. */
  text?: string;
  /** Who may call: the organization's token (the default), the server's admin secret, or everybody. */
  auth?: "token" | "admin" | "none";
  /**
   * `too`: also on `/.sprite/api.sock` as `/v1/...`, without a token; `only`: nowhere else. The path is the public one,
   * or the one that it would be.
   */
  inside?: "too" | "only";
  query?: readonly Parameter[];
  body?: Content;
  /** By status; null for an answer without a body. Those of errors follow from `errors`. */
  answers: Readonly<Record<number, Content | null>>;
  /** Besides what any call can meet: unauthorized, invalid_request, not_found, internal_error. */
  errors?: readonly ErrorCode[];
}

export interface Parameter {
  name: string;
  text: string;
  schema: z.ZodType;
  /** May stand in the query several times, in order. */
  repeats?: boolean;
  required?: boolean;
}

export interface Content {
  type: "application/json" | "application/x-ndjson" | "application/octet-stream" | (string & {});
  /** Of a JSON body, or of one line of NDJSON. */
  schema?: z.ZodType;
  text?: string;
  /** Shown to readers, and checked against the schema by a test. */
  example?: unknown;
  /** A body that may be left out. */
  isOptional?: boolean;
}

const names = new Map<object, string>();

/** Gives a schema a place of its own in the document, which others refer to. */
export function named<T extends z.ZodType>(name: string, schema: T): T {
  names.set(schema, name);
  return schema;
}

export function namedSchemas(): ReadonlyMap<object, string> {
  return names;
}

export function json(schema: z.ZodType, example?: unknown): Content {
  return { type: "application/json", schema, example };
}

export function ndjson(schema: z.ZodType, text?: string): Content {
  return { type: "application/x-ndjson", schema, ...(text === undefined ? {} : { text }) };
}

export function optional(content: Content): Content {
  return { ...content, isOptional: true };
}

/** Of every call that has to start a sprite which sleeps. */
export const startErrors = [
  "unavailable",
  "start_failed",
  "concurrent_sprite_limit_exceeded",
] as const satisfies readonly ErrorCode[];

export const timeSchema = z.iso.datetime().describe("RFC 3339, UTC, with milliseconds");
/** In a query: `true` or `1` are true. */
export const flagSchema = z.boolean();
/** `300ms`, `5s`, `1m30s`, or a number of seconds. */
export const durationSchema = z.string().describe("such as 300ms, 5s or 1m30s, or seconds");
