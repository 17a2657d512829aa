/** Tasks: named holds that keep a sprite running until they expire (contract.md section 10.2). */

import { parseDuration } from "./duration.ts";
import { SpriteError } from "./errors.ts";
import { taskExpiryMsMax, taskNameLengthMax } from "./limits.ts";
import { formatTimestamp } from "./timestamp.ts";

export interface TaskObject {
  name: string;
  started_at: string;
  expires_at: string;
}

export interface TaskListObject {
  tasks: TaskObject[];
}

export interface TaskRecord {
  name: string;
  startedAtMs: number;
  expiresAtMs: number;
}

export function taskObject({ name, startedAtMs, expiresAtMs }: TaskRecord): TaskObject {
  return {
    name,
    started_at: formatTimestamp(startedAtMs),
    expires_at: formatTimestamp(expiresAtMs),
  };
}

/** How long a task is to hold, from now. */
export interface TaskTerm {
  expiryMs: number;
}

/** A body with a name. @throws SpriteError invalid_request */
export function parseNamedTask(body: unknown): TaskTerm & { name: string } {
  const { name, expire } = fields(body);
  if (name === undefined) throw new SpriteError("invalid_request", "name: expected a string");
  return { name: parseTaskName(name), expiryMs: parseExpiry(expire) };
}

/** A body whose task the path names. @throws SpriteError invalid_request */
export function parseTaskTerm(body: unknown): TaskTerm {
  return { expiryMs: parseExpiry(fields(body).expire) };
}

/** One path segment names it, so it is none of those that mean a place. @throws SpriteError invalid_request */
export function parseTaskName(name: unknown): string {
  if (typeof name !== "string" || !/^[^\p{Cc}\p{Cs}]+$/u.test(name) || /^\.\.?$/.test(name)) {
    throw new SpriteError("invalid_request", "name: expected text without control characters");
  }
  if (name.length <= taskNameLengthMax) return name;
  throw new SpriteError("invalid_request", `name: at most ${taskNameLengthMax} characters`);
}

function fields(body: unknown): { name?: unknown; expire?: unknown } {
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  throw new SpriteError("invalid_request", "expected an object");
}

/** Whole seconds, or a duration's text; an hour when absent. */
function parseExpiry(expire: unknown): number {
  if (expire === undefined || expire === null) return taskExpiryMsMax;
  const expiryMs = expiryOf(expire);
  if (expiryMs === null) {
    const message = "expire: expected whole seconds or a duration such as 30m";
    throw new SpriteError("invalid_request", message);
  }
  if (expiryMs > taskExpiryMsMax) {
    throw new SpriteError("invalid_request", "expire: at most an hour; refresh the task in time", {
      details: { limit: taskExpiryMsMax / 1000 },
    });
  }
  return expiryMs;
}

/** Null for what is no duration, and for one without length. */
function expiryOf(expire: unknown): number | null {
  const isCount = typeof expire === "number" && Number.isSafeInteger(expire);
  const expiryMs = typeof expire === "string" ? parseDuration(expire) : isCount ? expire * 1000 : 0;
  return expiryMs === null || expiryMs < 1 ? null : Math.round(expiryMs);
}
