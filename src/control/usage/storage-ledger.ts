/** What sprites have in the bucket over time, without asking it: each amount counts until the next is known. */
import type { Sqlite } from "../database.ts";
import { dayMs, hourOf } from "./hours.ts";

export interface StorageSpan {
  spriteId: string;
  fromMs: number;
  /** Null: it goes on. */
  untilMs: number | null;
  /** The mean, of a span that several were made into. */
  storedBytes: number;
  /** As JSON. */
  labels: string;
}

export class StorageLedger {
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(database: Sqlite) {
    this.#statements = prepareStatements(database);
  }

  /** From now on the sprite has so much there, under these labels. */
  note(
    sprite: { id: string; labels: readonly string[]; storedBytes: number },
    nowMs: number,
  ): void {
    const labels = JSON.stringify(sprite.labels);
    const open = this.#openSpan(sprite.id, nowMs);
    if (open?.storedBytes === sprite.storedBytes && open.labels === labels) return;
    this.#close(open, nowMs);
    this.#statements.open.run(sprite.id, nowMs, sprite.storedBytes, labels);
  }

  /** Its labels changed; nothing is known anew of its bytes. */
  relabel(sprite: { id: string; labels: readonly string[] }, nowMs: number): void {
    const open = this.#openSpan(sprite.id, nowMs);
    if (open !== null) this.note({ ...sprite, storedBytes: open.storedBytes }, nowMs);
  }

  /** It is being destroyed. */
  end(spriteId: string, nowMs: number): void {
    this.#close(this.#openSpan(spriteId, nowMs), nowMs);
  }

  /** Makes one span a day of those that ended before `hourlyFromMs`; those before `oldestMs` are forgotten. */
  tidy({ hourlyFromMs, oldestMs }: { hourlyFromMs: number; oldestMs: number }): void {
    const { closedBefore, deleteClosedBefore, insertClosed, deleteOld } = this.#statements;
    deleteOld.run(oldestMs);
    const merged = closedBefore.all(hourlyFromMs);
    deleteClosedBefore.run(hourlyFromMs);
    for (const { spriteId, fromMs, untilMs, storedBytes, labels } of merged) {
      insertClosed.run(spriteId, fromMs, untilMs, storedBytes, labels);
    }
  }

  /** A clock that was set back takes back what it had counted ahead. */
  #openSpan(spriteId: string, nowMs: number): StorageSpan | null {
    const { takeBack, deleteEmpty, findOpen } = this.#statements;
    let open = findOpen.get(spriteId) ?? null;
    if (open !== null && open.fromMs > nowMs) {
      takeBack.run(nowMs, nowMs, spriteId);
      deleteEmpty.run(spriteId);
      open = { ...open, fromMs: nowMs };
    }
    return open;
  }

  /** Joined with the span before it in the same hour, so that a busy sprite has one row an hour and not one a report. */
  #close(open: StorageSpan | null, nowMs: number): void {
    if (open === null) return;
    const { spriteId, fromMs, storedBytes, labels } = open;
    this.#statements.deleteOpen.run(spriteId);
    if (fromMs >= nowMs) return;
    const before = this.#statements.findEndingAt.get(spriteId, fromMs);
    const joins = before?.labels === labels && hourOf(before.fromMs) === hourOf(nowMs - 1);
    if (!joins) {
      this.#statements.insertClosed.run(spriteId, fromMs, nowMs, storedBytes, labels);
      return;
    }
    const byteMs = before.storedBytes * (fromMs - before.fromMs) + storedBytes * (nowMs - fromMs);
    this.#statements.deleteEndingAt.run(spriteId, fromMs);
    const mean = byteMs / (nowMs - before.fromMs);
    this.#statements.insertClosed.run(spriteId, before.fromMs, nowMs, mean, labels);
  }
}

const columns = `sprite_id AS spriteId, from_ms AS fromMs, until_ms AS untilMs,
  stored_bytes AS storedBytes, labels`;

function prepareStatements(database: Sqlite) {
  return {
    findOpen: database.prepare<[string], StorageSpan>(
      `SELECT ${columns} FROM usage_storage WHERE sprite_id = ? AND until_ms IS NULL`,
    ),
    open: database.prepare<[string, number, number, string]>(
      "INSERT INTO usage_storage (sprite_id, from_ms, stored_bytes, labels) VALUES (?, ?, ?, ?)",
    ),
    deleteOpen: database.prepare<[string]>(
      "DELETE FROM usage_storage WHERE sprite_id = ? AND until_ms IS NULL",
    ),
    findEndingAt: database.prepare<[string, number], StorageSpan>(
      `SELECT ${columns} FROM usage_storage WHERE sprite_id = ? AND until_ms = ?`,
    ),
    deleteEndingAt: database.prepare<[string, number]>(
      "DELETE FROM usage_storage WHERE sprite_id = ? AND until_ms = ?",
    ),
    insertClosed: database.prepare<[string, number, number | null, number, string]>(
      `INSERT INTO usage_storage (sprite_id, from_ms, until_ms, stored_bytes, labels)
         VALUES (?, ?, ?, ?, ?)`,
    ),
    takeBack: database.prepare<[number, number, string]>(
      `UPDATE usage_storage SET from_ms = min(from_ms, ?),
         until_ms = CASE WHEN until_ms IS NULL THEN NULL ELSE min(until_ms, ?) END
         WHERE sprite_id = ?`,
    ),
    deleteEmpty: database.prepare<[string]>(
      "DELETE FROM usage_storage WHERE sprite_id = ? AND until_ms <= from_ms",
    ),
    closedBefore: database.prepare<[number], StorageSpan>(
      `SELECT sprite_id AS spriteId, labels, min(from_ms) AS fromMs, max(until_ms) AS untilMs,
         sum(stored_bytes * (until_ms - from_ms)) / (max(until_ms) - min(from_ms)) AS storedBytes
         FROM usage_storage WHERE until_ms <= ? AND until_ms - from_ms < ${dayMs}
         GROUP BY sprite_id, labels, from_ms / ${dayMs}`,
    ),
    deleteClosedBefore: database.prepare<[number]>(
      `DELETE FROM usage_storage WHERE until_ms <= ? AND until_ms - from_ms < ${dayMs}`,
    ),
    deleteOld: database.prepare<[number]>("DELETE FROM usage_storage WHERE until_ms < ?"),
  };
}
