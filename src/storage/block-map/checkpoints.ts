import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Database, Statement } from "../database.ts";
import type { CheckpointRecord } from "../volume/volume.ts";
import type { Attributes } from "./attributes.ts";
import type { FileTree } from "./file-tree.ts";
import { blockSizeBytes } from "./geometry.ts";
import type { ReferenceChanges } from "./references.ts";
import { liveFileId } from "./schema.ts";
import { UniqueBlocks } from "./unique-blocks.ts";

interface FileRow {
  id: number;
  name: string;
  is_auto: number;
  create_time_ms: number;
  comment: string;
  source: number | null;
  health: string;
  used_blocks: number;
  cut: number;
  is_pre_restore: number;
}

export interface NewCheckpoint {
  comment: string;
  isAuto: boolean;
  createTimeMs: number;
  /** Keeps what a restore replaces, for a while; `expirePreRestore` deletes it. */
  isPreRestore?: boolean;
}

/**
 * Checkpoints: frozen clones of the live file. Each remembers what it descends from. When one is deleted its
 * descendants move to its own source, so that no lineage ever names a checkpoint that is gone.
 */
export class Checkpoints {
  readonly #attributes: Attributes;
  readonly #tree: FileTree;
  readonly #unique: UniqueBlocks;
  /** Unique blocks by file, as far as known; those next to the live file hold until it changes. */
  readonly #uniqueBlocks = new Map<number, { blocks: number; isNextToLive: boolean }>();
  readonly #rows: Statement<[], FileRow>;
  readonly #byName: Statement<[string], FileRow>;
  readonly #live: Statement<[], FileRow>;
  readonly #insert: Statement<
    [string, number, number, string, number | null, number, number, number],
    never
  >;
  readonly #setLive: Statement<[number | null, number], never>;
  readonly #setHealth: Statement<[string, string], never>;
  readonly #reparent: Statement<[number | null, number], never>;
  readonly #delete: Statement<[number], never>;

  constructor(database: Database, attributes: Attributes, tree: FileTree) {
    this.#attributes = attributes;
    this.#tree = tree;
    this.#unique = new UniqueBlocks(database);
    this.#rows = database.prepare("SELECT * FROM file WHERE kind = 'checkpoint' ORDER BY id DESC");
    this.#byName = database.prepare("SELECT * FROM file WHERE kind = 'checkpoint' AND name = ?");
    this.#live = database.prepare(`SELECT * FROM file WHERE id = ${liveFileId}`);
    this.#insert = database.prepare(
      `INSERT INTO file (name, kind, is_auto, create_time_ms, comment, source, health,
         used_blocks, cut, is_pre_restore)
       VALUES (?, 'checkpoint', ?, ?, ?, ?, '', ?, ?, ?)`,
    );
    this.#setLive = database.prepare(
      `UPDATE file SET source = ?, used_blocks = ? WHERE id = ${liveFileId}`,
    );
    this.#setHealth = database.prepare("UPDATE file SET health = ? WHERE name = ?");
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
    return rows.map((row) => this.#toRecord(row, byId));
  }

  get(id: string): CheckpointRecord | null {
    const row = this.#byName.get(id);
    if (row === undefined) return null;
    return this.#toRecord(row, new Map(this.#rows.all().map((other) => [other.id, other])));
  }

  /** @throws SpriteError not_found */
  fileId(id: string): number {
    return this.#mustFind(id).id;
  }

  /** Returns its name. */
  create(options: NewCheckpoint, cut: number): string {
    const live = must(this.#live.get(), "block map has a live file");
    const name = options.isAuto ? this.#autoName(options.createTimeMs) : this.#nextName();
    const { lastInsertRowid } = this.#insert.run(
      name,
      options.isAuto ? 1 : 0,
      options.createTimeMs,
      options.comment,
      live.source,
      live.used_blocks,
      cut,
      options.isPreRestore === true ? 1 : 0,
    );
    const fileId = Number(lastInsertRowid);
    this.#tree.clone({ from: liveFileId, to: fileId });
    this.#setLive.run(fileId, live.used_blocks);
    return name;
  }

  /** @throws SpriteError not_found */
  restore(id: string, references: ReferenceChanges): Uint32Array {
    const checkpoint = this.#mustFind(id);
    const changedUnits = this.#tree.replaceLive(checkpoint.id, references);
    this.#setLive.run(checkpoint.id, checkpoint.used_blocks);
    this.liveChanged();
    this.#forgetUnique([checkpoint.id]);
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
    this.#forgetUnique([checkpoint.id, checkpoint.source]);
    this.#tree.drop(checkpoint.id, references);
    this.#reparent.run(checkpoint.source, checkpoint.id);
    this.#delete.run(checkpoint.id);
  }

  /** Automatic checkpoints of restores that are older and that the live file does not descend from directly. */
  expired(createTimeMsMax: number): string[] {
    const { source } = must(this.#live.get(), "block map has a live file");
    return this.#rows
      .all()
      .filter((row) => row.is_pre_restore === 1 && row.create_time_ms <= createTimeMsMax)
      .filter((row) => row.id !== source)
      .map(({ name }) => name);
  }

  /** Leaves the live file alone, which becomes another one's: nothing descends from anything any more. */
  dropAll(references: ReferenceChanges): void {
    const rows = this.#rows.all();
    this.#setLive.run(null, this.liveUsedBlocks);
    for (const { id } of rows) this.#reparent.run(null, id);
    for (const { id } of rows) {
      this.#tree.drop(id, references);
      this.#delete.run(id);
    }
    this.#uniqueBlocks.clear();
  }

  /** Forgets what is known of these files and of those that descend from them. */
  #forgetUnique(fileIds: readonly (number | null)[]): void {
    for (const { id, source } of this.#rows.all()) {
      if (fileIds.includes(id) || fileIds.includes(source)) this.#uniqueBlocks.delete(id);
    }
  }

  /** The live file has changed: what is known of its neighbours may not be true any more. */
  liveChanged(): void {
    for (const [id, { isNextToLive }] of this.#uniqueBlocks) {
      if (isNextToLive) this.#uniqueBlocks.delete(id);
    }
  }

  /** @throws SpriteError not_found */
  setHealth(id: string, health: CheckpointRecord["health"]): void {
    if (this.#mustFind(id).health !== health) this.#setHealth.run(health, id);
  }

  #toRecord(row: FileRow, byId: ReadonlyMap<number, FileRow>): CheckpointRecord {
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
      isPreRestore: row.is_pre_restore === 1,
      sourceId: history[0] ?? null,
      history,
      health: row.health === "mount_failed" ? "mount_failed" : "",
      cut: row.cut,
      sizeBytes: row.used_blocks * blockSizeBytes,
      uniqueBytes: this.#uniqueBlocksOf(row, byId) * blockSizeBytes,
    };
  }

  #uniqueBlocksOf(row: FileRow, byId: ReadonlyMap<number, FileRow>): number {
    const known = this.#uniqueBlocks.get(row.id);
    if (known !== undefined) return known.blocks;
    const live = must(this.#live.get(), "block map has a live file");
    const neighbours = [live, ...byId.values()]
      .filter(({ id }) => id !== row.id)
      .filter(({ id, source }) => source === row.source || source === row.id || id === row.source)
      .map(({ id }) => id);
    const blocks = this.#unique.of(row.id, neighbours);
    this.#uniqueBlocks.set(row.id, { blocks, isNextToLive: neighbours.includes(live.id) });
    return blocks;
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

function notFound(id: string): SpriteError {
  return new SpriteError("not_found", `there is no checkpoint ${id}`);
}
