import type { Buffer } from "node:buffer";

import type { Durability } from "../contract/durability.ts";
import type { IdleWindow } from "../contract/idle-window.ts";
import type { SpritePolicy } from "../contract/policy.ts";
import type { TokenRole } from "../contract/token.ts";
import type { UrlSettings } from "../contract/sprite-config.ts";
import { openOrganizationDatabase, type Sqlite } from "./database.ts";
import { UrlSessionRows } from "./url-access/session-rows.ts";
import { LifeNotes } from "./life-notes.ts";
import { ScheduleRows } from "./schedule/schedule-rows.ts";
import { UsageLedger } from "./usage/usage-ledger.ts";
import {
  parseSpriteRow,
  serializeIdleWindow,
  serializeSprite,
  type SpriteRecord,
  type SpriteRow,
} from "./sprite-record.ts";

export interface OrganizationRecord {
  slug: string;
  id: string;
  /** Part of every sprite's host name, so unique on this server. */
  shortId: string;
}

export interface NewToken {
  id: string;
  hash: Buffer;
  description: string;
  role: TokenRole;
  createdAtMs: number;
}

export interface TokenRow {
  id: string;
  description: string;
  role: TokenRole;
  createdAtMs: number;
  lastUsedAtMs: number | null;
}

export interface SpriteChange {
  labels: string[];
  urlSettings: UrlSettings;
  durability: Durability;
  idleWindow: IdleWindow;
  updatedAtMs: number;
}

export interface SpritePage {
  prefix: string;
  after: string | null;
  labels: readonly string[];
  limit: number;
}

/**
 * One organization's rows. Every method is one statement or one transaction, synchronous, and
 * durable when it returns.
 */
export class Organization {
  readonly record: OrganizationRecord;
  readonly urlSessions: UrlSessionRows;
  readonly usage: UsageLedger;
  readonly lifeNotes: LifeNotes;
  readonly schedules: ScheduleRows;
  readonly #database: Sqlite;
  readonly #statements: ReturnType<typeof prepareStatements>;

  private constructor(database: Sqlite, record: OrganizationRecord) {
    this.#database = database;
    this.record = record;
    this.urlSessions = new UrlSessionRows(database);
    this.usage = new UsageLedger(database);
    this.lifeNotes = new LifeNotes(database);
    this.schedules = new ScheduleRows(database);
    this.#statements = prepareStatements(database);
  }

  /** Null when the file has no organization yet: another process is about to write it. */
  static open(path: string): Organization | null {
    const database = openOrganizationDatabase(path);
    const row = database
      .prepare<[], OrganizationRecord>("SELECT slug, id, short_id AS shortId FROM organization")
      .get();
    if (row !== undefined) return new Organization(database, row);
    database.close();
    return null;
  }

  /** Writes the organization unless it is there already; the first of two writers wins. */
  static create(path: string, record: OrganizationRecord, createdAtMs: number): Organization {
    const database = openOrganizationDatabase(path);
    database
      .prepare(
        `INSERT INTO organization (slug, id, short_id, created_at_ms)
         SELECT ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM organization)`,
      )
      .run(record.slug, record.id, record.shortId, createdAtMs);
    database.close();
    const organization = Organization.open(path);
    if (organization === null) throw new Error(`create organization ${record.slug}`);
    return organization;
  }

  close(): void {
    this.#database.close();
  }

  insertToken(token: NewToken): void {
    this.#statements.insertToken.run(token);
  }

  /** Read anew for every request: another process may have added or revoked it a moment ago. */
  validToken(tokenId: string): { hash: Buffer; role: TokenRole } | null {
    return this.#statements.validToken.get(tokenId) ?? null;
  }

  /** Those that are valid, newest first. */
  listTokens(limit: number): TokenRow[] {
    return this.#statements.listTokens.all(limit);
  }

  revokeToken(tokenId: string, timeMs: number): boolean {
    return this.#statements.revokeToken.run(timeMs, tokenId).changes === 1;
  }

  setTokensUsed(lastUsedMsById: ReadonlyMap<string, number>): void {
    const run = this.#database.transaction(() => {
      for (const [id, timeMs] of lastUsedMsById) this.#statements.setTokenUsed.run(timeMs, id);
    });
    run.immediate();
  }

  /** False when another sprite has the name. */
  insertSprite(sprite: SpriteRecord): boolean {
    return this.#statements.insertSprite.run(serializeSprite(sprite)).changes === 1;
  }

  /** Sprites that are being destroyed have no name any more. */
  spriteByName(name: string): SpriteRecord | null {
    const row = this.#statements.spriteByName.get(name);
    return row === undefined ? null : parseSpriteRow(row);
  }

  /** No more than its URL needs, and only of one that is ready: this is asked for at each request. */
  spriteUrlByName(name: string): { id: string; urlSettings: UrlSettings } | null {
    const row = this.#statements.spriteUrlByName.get(name);
    if (row === undefined) return null;
    return { id: row.id, urlSettings: JSON.parse(row.urlSettings) as UrlSettings };
  }

  spriteById(id: string): SpriteRecord | null {
    const row = this.#statements.spriteById.get(id);
    return row === undefined ? null : parseSpriteRow(row);
  }

  /** In order of name, which stays stable from page to page. */
  listSprites(page: SpritePage): SpriteRecord[] {
    const { prefix, after, labels, limit } = page;
    const wanted = JSON.stringify(labels);
    return this.#statements.listSprites
      .all(after ?? "", prefix, prefix, wanted, limit)
      .map(parseSpriteRow);
  }

  /** Ids of all that have a name. */
  spriteIds(): string[] {
    return this.#statements.spriteIds.all().map((row) => row.id);
  }

  /** Rows that a crash may have left half made or half destroyed. */
  unfinishedSpriteIds(): string[] {
    return this.#statements.unfinishedSpriteIds.all().map((row) => row.id);
  }

  /** False when the sprite is no longer in the state `creating`. */
  setSpriteReady(id: string): boolean {
    return this.#statements.setSpriteReady.run(id).changes === 1;
  }

  updateSprite(id: string, change: SpriteChange): void {
    const { labels, urlSettings, durability, idleWindow, updatedAtMs } = change;
    const run = this.#database.transaction(() => {
      this.#statements.updateSprite.run(
        JSON.stringify(labels),
        JSON.stringify(urlSettings),
        durability,
        serializeIdleWindow(idleWindow),
        updatedAtMs,
        id,
      );
      this.usage.storage.relabel({ id, labels }, Date.now());
    });
    run.immediate();
  }

  updateSpritePolicy(id: string, policy: SpritePolicy, updatedAtMs: number): void {
    this.#statements.updateSpritePolicy.run(JSON.stringify(policy), updatedAtMs, id);
  }

  /** Frees the name. False when the sprite was being destroyed already. */
  setSpriteDestroying(id: string): boolean {
    const run = this.#database.transaction(() => {
      this.usage.storage.end(id, Date.now());
      return this.#statements.setSpriteDestroying.run(id).changes === 1;
    });
    return run.immediate();
  }

  deleteSprite(id: string): void {
    const run = this.#database.transaction(() => {
      this.#statements.deleteSprite.run(id);
      this.usage.forgetMeters(id);
    });
    run.immediate();
  }
}

function prepareStatements(database: Sqlite) {
  return {
    insertToken: database.prepare<[NewToken]>(
      `INSERT INTO token (id, hash, description, role, created_at_ms)
         VALUES (@id, @hash, @description, @role, @createdAtMs)`,
    ),
    validToken: database.prepare<[string], { hash: Buffer; role: TokenRole }>(
      "SELECT hash, role FROM token WHERE id = ? AND revoked_at_ms IS NULL",
    ),
    listTokens: database.prepare<[number], TokenRow>(
      `SELECT id, description, role, created_at_ms AS createdAtMs, last_used_at_ms AS lastUsedAtMs
         FROM token WHERE revoked_at_ms IS NULL ORDER BY created_at_ms DESC, id LIMIT ?`,
    ),
    revokeToken: database.prepare<[number, string]>(
      "UPDATE token SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL",
    ),
    setTokenUsed: database.prepare<[number, string]>(
      "UPDATE token SET last_used_at_ms = ? WHERE id = ?",
    ),
    insertSprite: database.prepare<[SpriteRow]>(
      `INSERT INTO sprite (id, name, state, labels, environment, config, url_settings, image_hash,
         durability, policy, idle_window, forked_from, created_at_ms, updated_at_ms,
         last_running_at_ms, last_warming_at_ms)
       VALUES (@id, @name, @state, @labels, @environment, @config, @url_settings, @image_hash,
         @durability, @policy, @idle_window, @forked_from, @created_at_ms, @updated_at_ms,
         @last_running_at_ms, @last_warming_at_ms)
       ON CONFLICT DO NOTHING`,
    ),
    spriteByName: database.prepare<[string], SpriteRow>(
      "SELECT * FROM sprite WHERE name = ? AND state <> 'destroying'",
    ),
    spriteUrlByName: database.prepare<[string], { id: string; urlSettings: string }>(
      "SELECT id, url_settings AS urlSettings FROM sprite WHERE name = ? AND state = 'ready'",
    ),
    spriteById: database.prepare<[string], SpriteRow>("SELECT * FROM sprite WHERE id = ?"),
    listSprites: database.prepare<[string, string, string, string, number], SpriteRow>(
      `SELECT * FROM sprite WHERE state <> 'destroying' AND name > ?
         AND substr(name, 1, length(?)) = ?
         AND NOT EXISTS (SELECT value FROM json_each(?)
           EXCEPT SELECT value FROM json_each(sprite.labels))
         ORDER BY name LIMIT ?`,
    ),
    spriteIds: database.prepare<[], { id: string }>(
      "SELECT id FROM sprite WHERE state <> 'destroying'",
    ),
    unfinishedSpriteIds: database.prepare<[], { id: string }>(
      "SELECT id FROM sprite WHERE state <> 'ready'",
    ),
    setSpriteReady: database.prepare<[string]>(
      "UPDATE sprite SET state = 'ready' WHERE id = ? AND state = 'creating'",
    ),
    updateSprite: database.prepare<[string, string, string, string | null, number, string]>(
      `UPDATE sprite SET labels = ?, url_settings = ?, durability = ?, idle_window = ?,
         updated_at_ms = ? WHERE id = ?`,
    ),
    updateSpritePolicy: database.prepare<[string, number, string]>(
      "UPDATE sprite SET policy = ?, updated_at_ms = ? WHERE id = ?",
    ),
    setSpriteDestroying: database.prepare<[string]>(
      "UPDATE sprite SET state = 'destroying' WHERE id = ? AND state <> 'destroying'",
    ),
    deleteSprite: database.prepare<[string]>("DELETE FROM sprite WHERE id = ?"),
  };
}
