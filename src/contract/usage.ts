/** What sprites have used: the answer of `GET /v1/usage`, and its query. */
import { SpriteError } from "./errors.ts";
import {
  continuationTokenLengthMax,
  labelsMax,
  usageDaysMax,
  usageHoursMax,
  usagePageSizeMax,
} from "./limits.ts";
import { spriteNameSchema } from "./names.ts";

export const usageGroupings = ["sprite", "label", "day", "hour"] as const;
export type UsageGrouping = (typeof usageGroupings)[number];

export interface UsageAmounts {
  running_seconds: number;
  /** Suspended, with its memory. */
  warm_seconds: number;
  /** Processor time of its programs. */
  cpu_seconds: number;
  /** Memory times the seconds that it was held: while running, and while warm. */
  memory_byte_seconds: number;
  warm_memory_byte_seconds: number;
  /** Bytes in the bucket times the seconds that they lay there. */
  storage_byte_seconds: number;
  egress_bytes: number;
  /** Requests that an object store bills as writes: put and list. */
  bucket_write_requests: number;
  bucket_read_requests: number;
  bucket_delete_requests: number;
  bucket_written_bytes: number;
  bucket_read_bytes: number;
}

/** Which keys a row has says `by`. */
export interface UsageRow extends UsageAmounts {
  sprite?: string;
  sprite_id?: string;
  /** Null: of sprites that had none. */
  label?: string | null;
  start?: string;
  end?: string;
}

export interface UsageObject {
  from: string;
  to: string;
  by: UsageGrouping;
  usage: UsageRow[];
  /** Of everything that was asked for, whatever page this is. */
  total: UsageAmounts;
  has_more: boolean;
  next_continuation_token: string | null;
}

export interface UsageQuery {
  fromMs: number;
  toMs: number;
  by: UsageGrouping;
  sprite: string | null;
  /** All of them. */
  labels: readonly string[];
  pageSize: number;
  /** Key of the last row of the page before. */
  after: string | null;
  isCsv: boolean;
}

const dayMs = 86_400_000;
const hourMs = 3_600_000;
/** A date means its beginning, and times are UTC unless they say otherwise. */
const timePattern =
  /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** @throws SpriteError invalid_request */
export function parseUsageQuery(query: URLSearchParams, nowMs: number): UsageQuery {
  const toMs = parseTime(query, "to") ?? nowMs;
  const fromMs = parseTime(query, "from") ?? Math.min(monthOf(nowMs), toMs);
  const by = parseChoice(query, "by", usageGroupings) ?? "sprite";
  if (fromMs > toMs) throw invalid("from: it is after to");
  if (toMs - fromMs > usageDaysMax * dayMs) throw invalid(`from: at most ${usageDaysMax} days`);
  if (by === "hour") {
    if (toMs - fromMs > usageHoursMax * hourMs) {
      throw invalid(`from: at most ${usageHoursMax / 24} days by the hour; ask by=day`);
    }
    const oldestMs = Math.floor(nowMs / dayMs) * dayMs - usageHoursMax * hourMs;
    if (fromMs < oldestMs) throw invalid("from: hours that old are kept as days; ask by=day");
  }
  const sprite = query.get("sprite");
  if (sprite !== null && !spriteNameSchema.safeParse(sprite).success)
    throw invalid("sprite: not a sprite's name");
  const labels = [...new Set(query.getAll("label"))];
  if (labels.length > labelsMax) throw invalid(`label: at most ${labelsMax}`);
  return {
    ...{ fromMs, toMs, by, sprite, labels },
    pageSize: parsePageSize(query.get("max_results")),
    after: parseToken(query.get("continuation_token")),
    isCsv: parseChoice(query, "format", ["json", "csv"] as const) === "csv",
  };
}

export function encodeUsageToken(key: string): string {
  return Buffer.from(`u:${key}`).toString("base64url");
}

function parseToken(token: string | null): string | null {
  if (token === null || token === "") return null;
  // A label is longer than a name, and then there is the encoding.
  const isShort = token.length <= 4 * continuationTokenLengthMax;
  const text = isShort ? Buffer.from(token, "base64url").toString() : "";
  if (text.startsWith("u:")) return text.slice(2);
  throw invalid("continuation_token: not a token of this list");
}

function parseTime(query: URLSearchParams, name: string): number | null {
  const text = query.get(name);
  if (text === null || text === "") return null;
  const timeMs = timePattern.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(timeMs)) return timeMs;
  throw invalid(`${name}: expected a date or a time, such as 2026-11-01 or 2026-11-01T12:00:00Z`);
}

function parseChoice<Choice extends string>(
  query: URLSearchParams,
  name: string,
  choices: readonly Choice[],
): Choice | null {
  const text = query.get(name);
  if (text === null || text === "") return null;
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw invalid(`${name}: expected ${choices.join(", ")}`);
}

/** As of a list of sprites: a number out of range is clamped. */
function parsePageSize(text: string | null): number {
  if (text === null || text === "") return usagePageSizeMax;
  if (!/^[+-]?\d{1,15}$/.test(text)) throw invalid("max_results: expected a whole number");
  return Math.min(Math.max(Number(text), 1), usagePageSizeMax);
}

function monthOf(timeMs: number): number {
  const time = new Date(timeMs);
  return Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), 1);
}

function invalid(message: string): SpriteError {
  return new SpriteError("invalid_request", message);
}
