import { SpriteError } from "../../contract/errors.ts";
import type { Database } from "../database.ts";

/** The tables of a block map; docs/formats/block-map.md describes each. */

/** "OSbm", so that `file` and we can tell a block map from any other SQLite file. */
const applicationId = 0x4f53_626d;
export const schemaVersion = 2;

export const liveFileId = 1;

const tables = `
  CREATE TABLE attribute (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

  -- A disk that was ever formatted holds somebody's files: nothing may make us run mkfs on it again.
  CREATE TRIGGER formatted_stays_when_updated BEFORE UPDATE ON attribute
    WHEN OLD.name = 'formatted' AND (NEW.name <> OLD.name OR NEW.value <> OLD.value)
    BEGIN SELECT RAISE(ABORT, 'the formatted flag is never unset'); END;
  CREATE TRIGGER formatted_stays_when_deleted BEFORE DELETE ON attribute
    WHEN OLD.name = 'formatted'
    BEGIN SELECT RAISE(ABORT, 'the formatted flag is never unset'); END;
  CREATE TRIGGER formatted_stays_when_replaced BEFORE INSERT ON attribute
    WHEN NEW.name = 'formatted'
      AND EXISTS (SELECT 1 FROM attribute WHERE name = 'formatted' AND value <> NEW.value)
    BEGIN SELECT RAISE(ABORT, 'the formatted flag is never unset'); END;

  -- AUTOINCREMENT: a file's number is never given to another, so it can be kept as a handle.
  CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('live', 'checkpoint')),
    is_auto INTEGER NOT NULL CHECK (is_auto IN (0, 1)),
    create_time_ms INTEGER NOT NULL,
    comment TEXT NOT NULL,
    source INTEGER REFERENCES file (id),
    health TEXT NOT NULL,
    used_blocks INTEGER NOT NULL CHECK (used_blocks >= 0),
    cut INTEGER NOT NULL DEFAULT 0,
    is_pre_restore INTEGER NOT NULL DEFAULT 0 CHECK (is_pre_restore IN (0, 1))
  ) STRICT;

  CREATE TABLE root (
    file INTEGER NOT NULL,
    leaf_index INTEGER NOT NULL,
    leaf INTEGER NOT NULL,
    PRIMARY KEY (file, leaf_index)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE leaf (
    id INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    data BLOB NOT NULL
  ) STRICT;

  CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    suffix BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    refs INTEGER NOT NULL CHECK (refs >= 0),
    blocks INTEGER NOT NULL CHECK (blocks >= 0),
    owner TEXT NOT NULL DEFAULT ''
  ) STRICT;

  CREATE TABLE garbage (
    segment INTEGER PRIMARY KEY REFERENCES segment (id),
    queued_at_ms INTEGER NOT NULL,
    cut INTEGER NOT NULL
  ) STRICT;
`;

/** Makes the tables of an empty map. */
export function createSchema(database: Database, options: { sizeBytes: number }): void {
  database.transaction("create block map", () => {
    database.execute(tables);
    database.execute(`
      INSERT INTO attribute (name, value) VALUES
        ('sizeBytes', ${options.sizeBytes}), ('lastCut', 0), ('generation', 1),
        ('nextSegment', 1), ('nextCheckpoint', 0), ('namedBytes', 0), ('garbageBytes', 0),
        ('foreignBytes', 0);
      INSERT INTO file (id, name, kind, is_auto, create_time_ms, comment, source, health, used_blocks)
        VALUES (${liveFileId}, 'live', 'live', 0, 0, '', NULL, '', 0);
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${schemaVersion};
    `);
  });
}

export function isBlockMap(database: Database): boolean {
  return database.pragma("application_id") === applicationId;
}

/**
 * @throws SpriteError storage_failure when the file is no block map, or one of a version that we do
 * not know
 */
export function verifySchema(database: Database): void {
  if (!isBlockMap(database)) {
    throw new SpriteError("storage_failure", `${database.path} is not a block map`);
  }
  const version = database.pragma("user_version");
  if (version !== schemaVersion) {
    throw new SpriteError(
      "storage_failure",
      `block map has version ${String(version)}, not ${schemaVersion}`,
    );
  }
}
