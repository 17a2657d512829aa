/** Reads what the ledger holds of a range of time. An hour or a day that the range cuts counts by its share. */
import type { UsageGrouping } from "../../contract/usage.ts";
import type { UsageCounters } from "../../contract/usage-report.ts";
import type { Sqlite } from "../database.ts";
import { dayMs, hourMs } from "./hours.ts";
import type { StorageSpan } from "./storage-ledger.ts";
import { usageColumns } from "./usage-schema.ts";

export interface UsageRange {
  fromMs: number;
  toMs: number;
  /** Of sprites that have, or had, this name; with all of these labels. */
  sprite?: string | null;
  labels?: readonly string[];
}

/** What a row is about: a sprite's id, a label or null, or the beginning of an hour or a day. */
export type UsageKey = string | number | null;

export class UsageSpans {
  readonly #database: Sqlite;

  constructor(database: Sqlite) {
    this.#database = database;
  }

  used(range: UsageRange, by: UsageGrouping, nowMs: number): Map<UsageKey, UsageCounters> {
    const { fromMs, toMs } = range;
    // Of the hour that is not over all that there is was used by now.
    const end = `max(start_ms + 1, min(start_ms + length_ms, ${nowMs}))`;
    const { text, values } = filterOf(range);
    const share = `max(0, min(${end}, ${toMs}) - max(start_ms, ${fromMs})) * 1.0 / (${end} - start_ms)`;
    const sums = usageColumns.map(({ name, column }) => `sum(${column} * ${share}) AS ${name}`);
    const source =
      by === "label" ? "usage_span LEFT JOIN json_each(usage_span.labels)" : "usage_span";
    const rows = this.#database
      .prepare<(string | number)[], UsageCounters & { key: UsageKey }>(
        `SELECT ${keys[by]} AS key, ${sums.join(", ")} FROM ${source}
           WHERE start_ms < ? AND start_ms > ? AND start_ms + length_ms > ? ${text} GROUP BY 1`,
      )
      .all(toMs, fromMs - dayMs, fromMs, ...values);
    return new Map(rows.map(({ key, ...counters }) => [key, counters]));
  }

  /** Row by row: there is one for each change, or each hour with changes. */
  storage(range: UsageRange): IterableIterator<StorageSpan> {
    const { text, values } = filterOf(range);
    return this.#database
      .prepare<(string | number)[], StorageSpan>(
        `SELECT sprite_id AS spriteId, from_ms AS fromMs, until_ms AS untilMs,
           stored_bytes AS storedBytes, labels FROM usage_storage
           WHERE from_ms < ? AND (until_ms IS NULL OR until_ms > ?) ${text}`,
      )
      .iterate(range.toMs, range.fromMs, ...values);
  }

  /** Of all that ever used something. */
  names(): Map<string, string> {
    const rows = this.#database
      .prepare<[], { id: string; name: string }>("SELECT sprite_id AS id, name FROM usage_sprite")
      .all();
    return new Map(rows.map(({ id, name }) => [id, name]));
  }
}

const keys: Readonly<Record<UsageGrouping, string>> = {
  sprite: "sprite_id",
  label: "json_each.value",
  day: `start_ms / ${dayMs} * ${dayMs}`,
  hour: `start_ms / ${hourMs} * ${hourMs}`,
};

function filterOf({ sprite = null, labels = [] }: UsageRange): { text: string; values: string[] } {
  const parts: string[] = [];
  const values: string[] = [];
  if (sprite !== null) {
    parts.push("AND sprite_id IN (SELECT sprite_id FROM usage_sprite WHERE name = ?)");
    values.push(sprite);
  }
  if (labels.length > 0) {
    const wanted = "SELECT value FROM json_each(?) EXCEPT SELECT value FROM json_each(labels)";
    parts.push(`AND NOT EXISTS (${wanted})`);
    values.push(JSON.stringify(labels));
  }
  return { text: parts.join(" "), values };
}
