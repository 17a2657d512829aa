/** The schedules of one organization's sprites, by which they are woken. */
import type { Schedule } from "../../contract/schedule.ts";
import type { Sqlite } from "../database.ts";

export const scheduleSchemaText = `
  -- When a sprite is woken by itself. next_ms is null when that is not to come again.
  CREATE TABLE sprite_schedule (
    sprite_id TEXT PRIMARY KEY REFERENCES sprite (id) ON DELETE CASCADE,
    cron TEXT,
    at_ms INTEGER,
    next_ms INTEGER
  ) STRICT;

  CREATE INDEX sprite_schedule_next ON sprite_schedule (next_ms) WHERE next_ms IS NOT NULL;
`;

export interface KeptSchedule extends Schedule {
  nextMs: number | null;
}

export class ScheduleRows {
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(database: Sqlite) {
    this.#statements = prepareStatements(database);
  }

  get(spriteId: string): KeptSchedule | null {
    return this.#statements.get.get(spriteId) ?? null;
  }

  set(spriteId: string, schedule: KeptSchedule): void {
    this.#statements.set.run({ spriteId, ...schedule });
  }

  delete(spriteId: string): void {
    this.#statements.delete.run(spriteId);
  }

  /** Of the sprites that can be used, the earliest first. */
  due(nowMs: number, limit: number): string[] {
    return this.#statements.due.all(nowMs, limit).map(({ id }) => id);
  }
}

function prepareStatements(database: Sqlite) {
  return {
    get: database.prepare<[string], KeptSchedule>(
      "SELECT cron, at_ms AS atMs, next_ms AS nextMs FROM sprite_schedule WHERE sprite_id = ?",
    ),
    set: database.prepare<[KeptSchedule & { spriteId: string }]>(
      `INSERT INTO sprite_schedule (sprite_id, cron, at_ms, next_ms)
         VALUES (@spriteId, @cron, @atMs, @nextMs)
         ON CONFLICT (sprite_id) DO UPDATE SET cron = @cron, at_ms = @atMs, next_ms = @nextMs`,
    ),
    delete: database.prepare<[string]>("DELETE FROM sprite_schedule WHERE sprite_id = ?"),
    due: database.prepare<[number, number], { id: string }>(
      `SELECT sprite.id AS id FROM sprite_schedule JOIN sprite ON sprite.id = sprite_id
         WHERE next_ms <= ? AND sprite.state = 'ready' ORDER BY next_ms LIMIT ?`,
    ),
  };
}
