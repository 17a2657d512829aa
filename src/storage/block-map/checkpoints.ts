import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Database, Statement } from "../database.ts";
import type { CheckpointRecord } from "../volume/volume.ts";
import type { Attributes } from "./attributes.ts";
import type { FileTree } from "./file-tree.ts";
import type { ReferenceChanges } from "./references.ts";
import { liveFileId } from "./schema.ts";

interface FileRow {
  id: number;
  name: string;
  is_auto: number;
  create_time_ms: number;
  comment: string;
  source: number | null;
  health: string;
  used_blocks: number;
}

export interface NewCheckpoint {
  comment: string;
  isAuto: boolean;
  createTimeMs: number;
}

/**
 * Checkpoints: frozen clones of the live file. Each remembers what it descends from. When one is deleted its
 * descendants move to its own source, so that no lineage ever names a checkpoint that is gone.
 */
export class Checkpoints {
  readonly #attributes: Attributes;
  readonly #tree: FileTree;
  readonly #rows: Statement<[], FileRow>;
  readonly #byName: Statement<[string], FileRow>;
  readonly #live: Statement<[], FileRow>;
  readonly #insert: Statement<[string, number, number, string, number | null, number], never>;
  readonly #setLive: Statement<[number, number], never>;
  readonly #setHealth: Statement<[string, string], never>;
  readonly #reparent: Statement<[number | null, number], never>;
  readonly #delete: Statement<[number], never>;

  constructor(database: Database, attributes: Attributes, tree: FileTree) {
    this.#attributes = attributes;
    this.#tree = tree;
    this.#rows = database.prepare("SELECT * FROM file WHERE kind = 'checkpoint' ORDER BY id DESC");
    this.#byName = database.prepare("SELECT * FROM file WHERE kind = 'checkpoint' AND name = ?");
    this.#live = database.prepare(`SELECT * FROM file WHERE id = ${liveFileId}`);
    this.#insert = database.prepare(
      `INSERT INTO file (name, kind, is_auto, create_time_ms, comment, source, health, used_blocks)
       VALUES (?, 'checkpoint', ?, ?, ?, ?, '', ?)`,
    );
    this.#setLive = database.prepare(
      `UPDATE file SET source = ?, used_blocks = ? WHERE id = ${liveFileId}`,
    );
    this.#setHealth = database.prepare(
      "UPDATE file SET health = ? WHERE kind = 'checkpoint' AND name = ?",
    );
    this.#reparent = database.prepare("UPDATE file SET source = ? WHERE source = ?");
    this.#delete = database.prepare("DELETE FROM file WHERE id = ?");
  }

  get liveUsedBlocks(): number {
    return must(this.#live.get(), "block map has a live file").used_blocks;
  }

  /** What the live file was last made into, or restored from. */
  get liveSourceId(): string | null {
    const { source } = must(this.#live.get(), "block map has a live file");
    return this.#rows.all().find((row) => row.id === source)?.name ?? null;
  }

  list(): CheckpointRecord[] {
    const rows = this.#rows.all();
    const byId = new Map(rows.map((row) => [row.id, row]));
    return rows.map((row) => toRecord(row, byId));
  }

  get(id: string): CheckpointRecord | null {
    const row = this.#byName.get(id);
    if (row === undefined) return null;
    return toRecord(row, new Map(this.#rows.all().map((other) => [other.id, other])));
  }

  /** @throws SpriteError not_found */
  fileId(id: string): number {
    return this.#mustFind(id).id;
  }

  create(options: NewCheckpoint): CheckpointRecord {
    const live = must(this.#live.get(), "block map has a live file");
    const name = options.isAuto ? this.#autoName(options.createTimeMs) : this.#nextName();
    const { lastInsertRowid } = this.#insert.run(
      name,
      options.isAuto ? 1 : 0,
      options.createTimeMs,
      options.comment,
      live.source,
      live.used_blocks,
    );
    const fileId = Number(lastInsertRowid);
    this.#tree.clone({ from: liveFileId, to: fileId });
    this.#setLive.run(fileId, live.used_blocks);
    return must(this.get(name), "checkpoint was just made");
  }

  /** @throws SpriteError not_found */
  restore(id: string, references: ReferenceChanges): Uint32Array {
    const checkpoint = this.#mustFind(id);
    const changedUnits = this.#tree.replaceLive(checkpoint.id, references);
    this.#setLive.run(checkpoint.id, checkpoint.used_blocks);
    return changedUnits;
  }

  /** @throws SpriteError not_found, conflict */
  delete(id: string, references: ReferenceChanges): void {
    const checkpoint = this.#mustFind(id);
    if (must(this.#live.get(), "block map has a live file").source === checkpoint.id) {
      throw new SpriteError(
        "conflict",
        `checkpoint ${id} is in use: the sprite's disk descends directly from it`,
      );
    }
    this.#tree.drop(checkpoint.id, references);
    this.#reparent.run(checkpoint.source, checkpoint.id);
    this.#delete.run(checkpoint.id);
  }

  /** @throws SpriteError not_found */
  setHealth(id: string, health: CheckpointRecord["health"]): void {
    if (this.#setHealth.run(health, id).changes === 0) throw notFound(id);
  }

  #mustFind(id: string): FileRow {
    const row = this.#byName.get(id);
    if (row === undefined) throw notFound(id);
    return row;
  }

  #nextName(): string {
    const number = this.#attributes.counter("nextCheckpoint");
    this.#attributes.setCounter("nextCheckpoint", number + 1);
    return `v${number}`;
  }

  /**
   * Automatic ones carry their time and use up no number; a second one in the same millisecond gets
   * a suffix.
   */
  #autoName(createTimeMs: number): string {
    const time = new Date(createTimeMs).toISOString().replaceAll(/[-:.]/g, "");
    let name = `auto-${time}`;
    for (let copy = 2; this.#byName.get(name) !== undefined; copy++) name = `auto-${time}-${copy}`;
    return name;
  }
}

function toRecord(row: FileRow, byId: ReadonlyMap<number, FileRow>): CheckpointRecord {
  const history: string[] = [];
  for (let source = row.source; source !== null;) {
    const ancestor: FileRow = must(byId.get(source), "a checkpoint's source exists");
    history.push(ancestor.name);
    source = ancestor.source;
  }
  return {
    id: row.name,
    createTimeMs: row.create_time_ms,
    comment: row.comment,
    isAuto: row.is_auto === 1,
    sourceId: history[0] ?? null,
    history,
    health: row.health === "mount_failed" ? "mount_failed" : "",
  };
}

function notFound(id: string): SpriteError {
  return new SpriteError("not_found", `there is no checkpoint ${id}`);
}
