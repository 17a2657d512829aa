import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

import Database from "better-sqlite3";

import { SpriteError } from "../contract/errors.ts";
import { scheduleSchemaText } from "./schedule/schedule-rows.ts";
import { usageSchema } from "./usage/usage-schema.ts";
import { databaseBusyTimeoutMs, databaseLogSizeBytesMax } from "./limits.ts";

export type Sqlite = Database.Database;

/**
 * One organization's database; each entry brings the schema one version up, and is never changed
 * once released.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE organization (
    slug TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    short_id TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE token (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the whole token. Its value has 256 random bits, so neither salt nor stretching is needed.
    hash BLOB NOT NULL,
    description TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    last_used_at_ms INTEGER,
    revoked_at_ms INTEGER
  ) STRICT;

  CREATE TABLE sprite (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'destroying')),
    labels TEXT NOT NULL,
    environment TEXT NOT NULL,
    config TEXT NOT NULL,
    url_settings TEXT NOT NULL,
    image_hash TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    last_running_at_ms INTEGER,
    last_warming_at_ms INTEGER
  ) STRICT;

  -- A destroyed sprite's name is free at once, though its row stays until its bytes are gone.
  CREATE UNIQUE INDEX sprite_name ON sprite (name) WHERE state <> 'destroying';
  CREATE INDEX sprite_unfinished ON sprite (state) WHERE state <> 'ready';
  `,
  `
  ALTER TABLE sprite ADD COLUMN durability TEXT NOT NULL DEFAULT 'local'
    CHECK (durability IN ('local', 'durable'));
  `,
  `
  -- Id of the sprite whose disk this one began with. No reference: that one may be gone.
  ALTER TABLE sprite ADD COLUMN forked_from TEXT;
  `,
  `
  -- What the sprite may reach, do and use, as JSON. Null: nobody has said anything about it.
  ALTER TABLE sprite ADD COLUMN policy TEXT;
  `,
  `
  -- An admin may open the URLs that are for admins only. All tokens were as good as each other before.
  ALTER TABLE token ADD COLUMN role TEXT NOT NULL DEFAULT 'admin' CHECK (role IN ('admin', 'member'));

  -- Browsers that have logged in.
  CREATE TABLE url_session (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the cookie's random part.
    hash BLOB NOT NULL,
    -- The sprite's host it is for; null: the login page's own, from which the others come.
    host TEXT,
    login_id TEXT NOT NULL,
    -- What was shown at the login: it ends with the token.
    credential TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
  ) STRICT;

  CREATE INDEX url_session_login ON url_session (login_id);
  CREATE INDEX url_session_expiry ON url_session (expires_at_ms);
  `,
  usageSchema,
  `
  -- After how many ms in which nothing goes on it is suspended; 'off': never; null: as the server is set.
  ALTER TABLE sprite ADD COLUMN idle_window TEXT;

  -- When it was last suspended or stopped, and woken, and why: what is known when nothing of it runs.
  ALTER TABLE sprite ADD COLUMN slept_at_ms INTEGER;
  ALTER TABLE sprite ADD COLUMN slept_because TEXT;
  ALTER TABLE sprite ADD COLUMN woke_at_ms INTEGER;
  ALTER TABLE sprite ADD COLUMN woke_because TEXT;
  `,
  scheduleSchemaText,
];

/** Opens the file, making it if it is new. `token create` and the server may do so at the same time. */
export function openOrganizationDatabase(path: string): Sqlite {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const database = new Database(path, { timeout: databaseBusyTimeoutMs });
  try {
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    // The server's replicator folds the log, when the bucket has it; a process that ends folds it too.
    database.pragma("wal_autocheckpoint = 0");
    database.pragma(`journal_size_limit = ${databaseLogSizeBytesMax}`);
    migrate(database, path);
    return database;
  } catch (cause) {
    database.close();
    throw new Error(`open organization database ${path}`, { cause });
  }
}

function schemaVersion(database: Sqlite): number {
  return Number(database.pragma("user_version", { simple: true }));
}

function migrate(database: Sqlite, path: string): void {
  if (schemaVersion(database) === migrations.length) return;
  // Immediate: of two processes that open a new file, one waits and then finds nothing left to do.
  const run = database.transaction(() => {
    const version = schemaVersion(database);
    if (version > migrations.length) {
      throw new Error(`${path} was written by a newer version of spritesd`);
    }
    for (const script of migrations.slice(version)) database.exec(script);
    database.pragma(`user_version = ${migrations.length}`);
  });
  run.immediate();
}

/** True when the disk had no room for what was to be written. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Database.SqliteError && error.code === "SQLITE_FULL";
}

/** What a user can act on, where that is known; otherwise the error as it is. */
export function translateDatabaseError(error: unknown): unknown {
  if (!isDiskFull(error)) return error;
  return new SpriteError("disk_full", "the server's disk is full", { cause: error });
}
