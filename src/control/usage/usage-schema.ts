import { usageCounterNames } from "../../contract/usage-report.ts";

/** Counters as columns: `runningMs` is `running_ms`. */
export const usageColumns = usageCounterNames.map((name) => ({
  name,
  column: name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
}));

/** A migration of the registry: never changed once released. A counter that is added is a migration of its own. */
export const usageSchema = `
  -- Names outlive the sprites that had them.
  CREATE TABLE usage_sprite (
    sprite_id TEXT PRIMARY KEY,
    name TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_sprite_name ON usage_sprite (name);

  -- The newest counters of each meter, as JSON: what is reported again is not counted again.
  CREATE TABLE usage_meter (
    sprite_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    counters TEXT NOT NULL,
    reported_at_ms INTEGER NOT NULL,
    PRIMARY KEY (sprite_id, meter_id)
  ) STRICT, WITHOUT ROWID;

  -- What was used in an hour, or a day. Labels as they were then, as JSON.
  CREATE TABLE usage_span (
    start_ms INTEGER NOT NULL,
    length_ms INTEGER NOT NULL,
    sprite_id TEXT NOT NULL,
    labels TEXT NOT NULL,
    running_ms REAL NOT NULL,
    warm_ms REAL NOT NULL,
    processor_ms REAL NOT NULL,
    memory_byte_seconds REAL NOT NULL,
    warm_memory_byte_seconds REAL NOT NULL,
    sent_bytes REAL NOT NULL,
    bucket_writes REAL NOT NULL,
    bucket_reads REAL NOT NULL,
    bucket_deletes REAL NOT NULL,
    bucket_written_bytes REAL NOT NULL,
    bucket_read_bytes REAL NOT NULL,
    PRIMARY KEY (start_ms, length_ms, sprite_id, labels)
  ) STRICT, WITHOUT ROWID;

  -- What lay in the bucket from when until when; until null: it still does.
  -- So a sprite that sleeps for months is one row.
  CREATE TABLE usage_storage (
    sprite_id TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER,
    stored_bytes REAL NOT NULL,
    labels TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX usage_storage_open ON usage_storage (sprite_id) WHERE until_ms IS NULL;
  CREATE INDEX usage_storage_closed ON usage_storage (sprite_id, until_ms);
`;
