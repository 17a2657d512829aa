import assert from "node:assert/strict";
import SqliteDatabase from "better-sqlite3";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { BlockMap } from "./block-map.ts";

/** The schema and content of version 1, as the server wrote them before there was a version 2. */
const version1 = `
  PRAGMA journal_mode = WAL;
  CREATE TABLE attribute (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TRIGGER formatted_stays_when_updated BEFORE UPDATE ON attribute
    WHEN OLD.name = 'formatted' AND (NEW.name <> OLD.name OR NEW.value <> OLD.value)
    BEGIN SELECT RAISE(ABORT, 'the formatted flag is never unset'); END;
  CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('live', 'checkpoint')),
    is_auto INTEGER NOT NULL CHECK (is_auto IN (0, 1)), create_time_ms INTEGER NOT NULL,
    comment TEXT NOT NULL, source INTEGER REFERENCES file (id), health TEXT NOT NULL,
    used_blocks INTEGER NOT NULL CHECK (used_blocks >= 0)
  ) STRICT;
  CREATE TABLE root (
    file INTEGER NOT NULL, leaf_index INTEGER NOT NULL, leaf INTEGER NOT NULL,
    PRIMARY KEY (file, leaf_index)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE leaf (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
  CREATE TABLE segment (
    id INTEGER PRIMARY KEY, suffix BLOB NOT NULL, size_bytes INTEGER NOT NULL,
    refs INTEGER NOT NULL CHECK (refs >= 0), blocks INTEGER NOT NULL CHECK (blocks >= 0)
  ) STRICT;
  CREATE TABLE garbage (
    segment INTEGER PRIMARY KEY REFERENCES segment (id), queued_at_ms INTEGER NOT NULL,
    cut INTEGER NOT NULL
  ) STRICT;
  INSERT INTO attribute VALUES ('sizeBytes', 268435456), ('lastCut', 7), ('generation', 2),
    ('nextSegment', 65), ('nextCheckpoint', 1), ('namedBytes', 131072), ('garbageBytes', 8192),
    ('formatted', '1');
  INSERT INTO file VALUES (1, 'live', 'live', 0, 0, '', 2, '', 17),
    (2, 'v0', 'checkpoint', 0, 5000, 'first', NULL, '', 16);
  INSERT INTO leaf VALUES (1, 1, x'${"00".repeat(12)}030000000100100078563412'),
    (2, 2, x'${"00".repeat(12)}030000000100100078563412020000000200010001000000');
  INSERT INTO root VALUES (1, 0, 2), (2, 0, 1);
  INSERT INTO segment VALUES (1, x'010203040506', 8192, 0, 0),
    (2, x'0a0b0c0d0e0f', 65536, 1, 1), (3, x'a1a2a3a4a5a6', 65536, 2, 32);
  INSERT INTO garbage VALUES (1, 4000, 6);
  PRAGMA application_id = 1330864749;
  PRAGMA user_version = 1;
`;

function makeVersion1(test: TestContext, sql = ""): string {
  const directory = mkdtempSync(join(tmpdir(), "block-map-migration-"));
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "map.db");
  const sqlite = new SqliteDatabase(path);
  sqlite.exec(version1 + sql);
  sqlite.close();
  return path;
}

describe("a block map of version 1", () => {
  it("is brought to the present version when it is opened, with all that it says", (test) => {
    const path = makeVersion1(test);
    for (let opening = 0; opening < 2; opening++) {
      const map = BlockMap.open(path);
      const whole = { segment: 3, offsetBlocks: 1, check: 0x12345678 };
      const first = [{ ...whole, stored: 0xffff, live: 0xffff }];
      assert.deepEqual(map.lookupRange(map.liveFileId, 0, 4), [
        null,
        first,
        [{ segment: 2, offsetBlocks: 2, stored: 1, live: 1, check: 1 }],
        null,
      ]);
      assert.deepEqual(map.lookupRange(map.checkpointFileId("v0"), 0, 3), [null, first, null]);
      assert.equal(map.getCheckpoint("v0")?.comment, "first");
      assert.equal(map.formatted, true);
      assert.equal(map.lastCut, 7);
      assert.deepEqual(map.checkIntegrity(), []);
      map.close();
    }
  });

  it("stays as it is when it cannot be understood, and when it may only be read", (test) => {
    const damaged = makeVersion1(test, "UPDATE leaf SET data = x'0102' WHERE id = 2;");
    assert.throws(() => BlockMap.open(damaged), { code: "storage_failure" });
    const path = makeVersion1(test);
    const message = /version 1/;
    assert.throws(() => BlockMap.open(path, { readOnly: true }), { message });
    const newer = makeVersion1(test, "PRAGMA user_version = 3;");
    assert.throws(() => BlockMap.open(newer), { message: /version 3/ });
    for (const file of [damaged, path]) {
      const sqlite = new SqliteDatabase(file, { readonly: true });
      assert.equal(sqlite.pragma("user_version", { simple: true }), 1);
      sqlite.close();
    }
  });
});
