/** When each sprite of an organization was last woken and put to sleep, and why: what is known when nothing of it runs. */
import type { Statement } from "better-sqlite3";
import type { SpriteStatus } from "../contract/sprite.ts";
import type { Sqlite } from "./database.ts";
import { becauseLengthMax } from "./limits.ts";

type Note = Statement<[{ id: string; atMs: number; because: string }]>;

export class LifeNotes {
  readonly #noteByStatus: Readonly<Record<SpriteStatus, Note>>;
  readonly #noteLost: Note;

  constructor(database: Sqlite) {
    const prepare = (text: string): Note => database.prepare(text);
    this.#noteByStatus = {
      running: prepare(
        `UPDATE sprite SET last_running_at_ms = @atMs, woke_at_ms = @atMs, woke_because = @because
           WHERE id = @id`,
      ),
      warm: prepare(
        `UPDATE sprite SET last_warming_at_ms = @atMs, slept_at_ms = @atMs, slept_because = @because
           WHERE id = @id`,
      ),
      cold: prepare(
        "UPDATE sprite SET slept_at_ms = @atMs, slept_because = @because WHERE id = @id",
      ),
    };
    this.#noteLost = prepare(
      `UPDATE sprite SET slept_at_ms = @atMs, slept_because = @because
         WHERE id = @id AND woke_at_ms IS NOT NULL AND coalesce(slept_at_ms, 0) < woke_at_ms`,
    );
  }

  /** The sprite's status has become that. */
  note(
    id: string,
    status: SpriteStatus,
    { atMs, because }: { atMs: number; because: string },
  ): void {
    this.#noteByStatus[status].run({ id, atMs, because: because.slice(0, becauseLengthMax) });
  }

  /** It does not run, and if it did when it was last heard of, its server ended under it. */
  noteLost(id: string, atMs: number): void {
    this.#noteLost.run({ id, atMs, because: "its server ended" });
  }
}
