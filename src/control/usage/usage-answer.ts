/** `GET /v1/usage`, apart from HTTP. */
import { formatTimestamp } from "../../contract/timestamp.ts";
import {
  encodeUsageToken,
  type UsageAmounts,
  type UsageGrouping,
  type UsageObject,
  type UsageQuery,
  type UsageRow,
} from "../../contract/usage.ts";
import { noUsage, type UsageCounters } from "../../contract/usage-report.ts";
import type { Organization } from "../organization.ts";
import { dayMs, hourMs } from "./hours.ts";
import type { UsageKey, UsageSpans } from "./usage-spans.ts";

interface Amounts {
  counters: UsageCounters;
  storageByteMs: number;
}

export function answerUsage(
  organization: Organization,
  query: UsageQuery,
  nowMs: number,
): UsageObject {
  const { spans } = organization.usage;
  const { fromMs, toMs, by, after, pageSize } = query;
  const amounts = collect(spans, query, nowMs);
  const names = by === "sprite" ? spans.names() : new Map<string, string>();
  const sorted = [...amounts.byKey]
    .map(([key, found]) => ({ order: orderOf(key, names), key, found }))
    .toSorted((one, other) => (one.order < other.order ? -1 : 1));
  const left = after === null ? sorted : sorted.filter(({ order }) => order > after);
  const page = left.slice(0, pageSize);
  const last = page.at(-1);
  const hasMore = left.length > page.length;
  return {
    ...{ from: formatTimestamp(fromMs), to: formatTimestamp(toMs), by },
    usage: page.map(({ key, found }) => ({ ...keysOf(key, by, names), ...amountsOf(found) })),
    total: amountsOf(amounts.total),
    has_more: hasMore,
    next_continuation_token: hasMore && last !== undefined ? encodeUsageToken(last.order) : null,
  };
}

/** All of it: sorted by name and only then cut into pages. */
function collect(
  spans: UsageSpans,
  query: UsageQuery,
  nowMs: number,
): { byKey: Map<UsageKey, Amounts>; total: Amounts } {
  const byKey = new Map<UsageKey, Amounts>();
  const total = nothing();
  const of = (key: UsageKey): Amounts => {
    const found = byKey.get(key) ?? nothing();
    byKey.set(key, found);
    return found;
  };
  for (const [key, counters] of spans.used(query, query.by, nowMs)) of(key).counters = counters;
  // A sprite of two labels is in two rows.
  const once = query.by === "label" ? spans.used(query, "day", nowMs) : new Map(counted(byKey));
  for (const counters of once.values()) {
    for (const name of Object.keys(counters) as (keyof UsageCounters)[]) {
      total.counters[name] += counters[name];
    }
  }
  for (const span of spans.storage(query)) {
    const fromMs = Math.max(span.fromMs, query.fromMs);
    const untilMs = Math.min(span.untilMs ?? nowMs, query.toMs, nowMs);
    if (untilMs <= fromMs) continue;
    total.storageByteMs += span.storedBytes * (untilMs - fromMs);
    for (const { key, lengthMs } of partsOf(span, query.by, { fromMs, untilMs })) {
      of(key).storageByteMs += span.storedBytes * lengthMs;
    }
  }
  return { byKey, total };
}

function* counted(byKey: Map<UsageKey, Amounts>): Generator<[UsageKey, UsageCounters]> {
  for (const [key, { counters }] of byKey) yield [key, counters];
}

/** Which rows a span of storage belongs to, and for how long. */
function* partsOf(
  { spriteId, labels }: { spriteId: string; labels: string },
  by: UsageGrouping,
  { fromMs, untilMs }: { fromMs: number; untilMs: number },
): Generator<{ key: UsageKey; lengthMs: number }> {
  const lengthMs = untilMs - fromMs;
  if (by === "sprite") yield { key: spriteId, lengthMs };
  else if (by === "label") {
    const all = JSON.parse(labels) as string[];
    for (const key of all.length === 0 ? [null] : all) yield { key, lengthMs };
  } else {
    const stepMs = by === "day" ? dayMs : hourMs;
    for (let key = Math.floor(fromMs / stepMs) * stepMs; key < untilMs; key += stepMs) {
      yield { key, lengthMs: Math.min(untilMs, key + stepMs) - Math.max(fromMs, key) };
    }
  }
}

/** Rows are in order of name, of label (none first), or of time. */
function orderOf(key: UsageKey, names: ReadonlyMap<string, string>): string {
  if (key === null) return "";
  if (typeof key === "number") return String(key).padStart(16, "0");
  const name = names.get(key);
  return name === undefined ? `=${key}` : `${name}\0${key}`;
}

function keysOf(
  key: UsageKey,
  by: UsageGrouping,
  names: ReadonlyMap<string, string>,
): Partial<UsageRow> {
  if (by === "sprite") return { sprite: names.get(String(key)) ?? "", sprite_id: String(key) };
  if (by === "label") return { label: key === null ? null : String(key) };
  const startMs = Number(key);
  const endMs = startMs + (by === "day" ? dayMs : hourMs);
  return { start: formatTimestamp(startMs), end: formatTimestamp(endMs) };
}

function nothing(): Amounts {
  return { counters: noUsage(), storageByteMs: 0 };
}

function amountsOf({ counters, storageByteMs }: Amounts): UsageAmounts {
  return {
    running_seconds: seconds(counters.runningMs),
    warm_seconds: seconds(counters.warmMs),
    cpu_seconds: seconds(counters.processorMs),
    memory_byte_seconds: Math.round(counters.memoryByteSeconds),
    warm_memory_byte_seconds: Math.round(counters.warmMemoryByteSeconds),
    storage_byte_seconds: Math.round(storageByteMs / 1_000),
    egress_bytes: Math.round(counters.sentBytes),
    bucket_write_requests: Math.round(counters.bucketWrites),
    bucket_read_requests: Math.round(counters.bucketReads),
    bucket_delete_requests: Math.round(counters.bucketDeletes),
    bucket_written_bytes: Math.round(counters.bucketWrittenBytes),
    bucket_read_bytes: Math.round(counters.bucketReadBytes),
  };
}

/** To the millisecond. */
function seconds(timeMs: number): number {
  return Math.round(timeMs) / 1_000;
}
