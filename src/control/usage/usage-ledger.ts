/** One organization's usage, in its registry (docs/formats/usage.md). Every method is one transaction, durable when it returns. */
import {
  noUsage,
  usageCounterNames,
  type UsageCounters,
  type UsageReport,
} from "../../contract/usage-report.ts";
import type { Sqlite } from "../database.ts";
import { dayMs, hourMs, shareByHour } from "./hours.ts";
import { hourlyAgeMsMax, metersPerSpriteMax, usageAgeMsMax } from "./limits.ts";
import { usageColumns } from "./usage-schema.ts";
import { StorageLedger } from "./storage-ledger.ts";
import { UsageSpans } from "./usage-spans.ts";

/** The sprite that a report is of, as it is now. */
export interface MeteredSprite {
  id: string;
  name: string;
  labels: readonly string[];
}

export class UsageLedger {
  readonly storage: StorageLedger;
  readonly spans: UsageSpans;
  readonly #database: Sqlite;
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(database: Sqlite) {
    this.#database = database;
    this.storage = new StorageLedger(database);
    this.spans = new UsageSpans(database);
    this.#statements = prepareStatements(database);
  }

  /** Adds what the reports have that earlier ones had not. */
  record(
    reports: readonly { sprite: MeteredSprite; report: UsageReport; isGone: boolean }[],
    nowMs: number,
  ): void {
    const run = this.#database.transaction(() => {
      for (const { sprite, report, isGone } of reports) {
        this.#record(sprite, report, nowMs);
        // One that is being destroyed has nothing in the bucket that is its own to pay for.
        if (report.storedBytes === null || isGone) continue;
        this.storage.note({ ...sprite, storedBytes: report.storedBytes }, nowMs);
      }
    });
    run.immediate();
  }

  /** Forgets what is needed to tell new reports from old ones: the sprite is gone for good. What it used stays. */
  forgetMeters(spriteId: string): void {
    this.#statements.deleteMeters.run(spriteId);
  }

  /** Makes days of old hours, and forgets what is too old. */
  tidy(nowMs: number): void {
    const run = this.#database.transaction(() => {
      const hourlyFromMs = Math.floor((nowMs - hourlyAgeMsMax) / dayMs) * dayMs;
      this.#statements.mergeIntoDays.run(hourlyFromMs);
      this.#statements.deleteMergedHours.run(hourlyFromMs);
      this.#statements.deleteOldSpans.run(nowMs - usageAgeMsMax);
      this.storage.tidy({ hourlyFromMs, oldestMs: nowMs - usageAgeMsMax });
      this.#statements.deleteUnusedNames.run();
    });
    run.immediate();
  }

  #record({ id, name, labels }: MeteredSprite, report: UsageReport, nowMs: number): void {
    const { insertName, findMeter, setMeter, trimMeters } = this.#statements;
    insertName.run(id, name);
    const known = findMeter.get(id, report.meterId)?.counters;
    const before = known === undefined ? noUsage() : (JSON.parse(known) as Partial<UsageCounters>);
    const { counters } = report;
    const delta = noUsage();
    const newest = noUsage();
    for (const name of usageCounterNames) {
      const earlier = before[name] ?? 0;
      // A report that is older than one we had adds nothing, and takes nothing back.
      delta[name] = Math.max(0, counters[name] - earlier);
      newest[name] = Math.max(counters[name], earlier);
    }
    if (known !== undefined && usageCounterNames.every((name) => delta[name] === 0)) return;
    setMeter.run(id, report.meterId, JSON.stringify(newest), nowMs);
    trimMeters.run(id, id, metersPerSpriteMax);
    const endMs = Math.min(report.atMs, nowMs);
    const spanMs = delta.runningMs + delta.warmMs;
    for (const { startMs, share } of shareByHour(endMs - spanMs, endMs)) {
      const amounts = usageCounterNames.map((name) => delta[name] * share);
      this.#statements.addToSpan.run(startMs, hourMs, id, JSON.stringify(labels), ...amounts);
    }
  }
}

function prepareStatements(database: Sqlite) {
  const columns = usageColumns.map(({ column }) => column);
  const places = columns.map(() => "?").join(", ");
  const added = columns.map((column) => `${column} = ${column} + excluded.${column}`).join(", ");
  const sums = columns.map((column) => `sum(${column})`).join(", ");
  return {
    insertName: database.prepare<[string, string]>(
      "INSERT INTO usage_sprite (sprite_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
    ),
    findMeter: database.prepare<[string, string], { counters: string }>(
      "SELECT counters FROM usage_meter WHERE sprite_id = ? AND meter_id = ?",
    ),
    setMeter: database.prepare<[string, string, string, number]>(
      `INSERT INTO usage_meter (sprite_id, meter_id, counters, reported_at_ms) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET counters = excluded.counters, reported_at_ms = excluded.reported_at_ms`,
    ),
    trimMeters: database.prepare<[string, string, number]>(
      `DELETE FROM usage_meter WHERE sprite_id = ? AND meter_id NOT IN
         (SELECT meter_id FROM usage_meter WHERE sprite_id = ? ORDER BY reported_at_ms DESC LIMIT ?)`,
    ),
    deleteMeters: database.prepare<[string]>("DELETE FROM usage_meter WHERE sprite_id = ?"),
    addToSpan: database.prepare<[number, number, string, string, ...number[]]>(
      `INSERT INTO usage_span (start_ms, length_ms, sprite_id, labels, ${columns.join(", ")})
         VALUES (?, ?, ?, ?, ${places}) ON CONFLICT DO UPDATE SET ${added}`,
    ),
    // `WHERE true` keeps SQLite from taking ON CONFLICT for a join's condition.
    mergeIntoDays: database.prepare<[number]>(
      `INSERT INTO usage_span (start_ms, length_ms, sprite_id, labels, ${columns.join(", ")})
         SELECT start_ms / ${dayMs} * ${dayMs}, ${dayMs}, sprite_id, labels, ${sums} FROM usage_span
           WHERE length_ms = ${hourMs} AND start_ms < ? GROUP BY 1, 3, 4
         ON CONFLICT DO UPDATE SET ${added}`,
    ),
    deleteMergedHours: database.prepare<[number]>(
      `DELETE FROM usage_span WHERE length_ms = ${hourMs} AND start_ms < ?`,
    ),
    deleteOldSpans: database.prepare<[number]>(
      "DELETE FROM usage_span WHERE start_ms + length_ms < ?",
    ),
    deleteUnusedNames: database.prepare<[]>(
      `DELETE FROM usage_sprite WHERE sprite_id NOT IN (SELECT sprite_id FROM usage_span)
         AND sprite_id NOT IN (SELECT sprite_id FROM usage_storage)
         AND sprite_id NOT IN (SELECT id FROM sprite)`,
    ),
  };
}
