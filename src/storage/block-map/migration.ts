import { SpriteError } from "../../contract/errors.ts";
import type { Database } from "../database.ts";
import { everyBlock, unitsPerLeaf } from "./geometry.ts";
import { Leaf } from "./leaf.ts";
import { isBlockMap, schemaVersion } from "./schema.ts";
import type { UnitLayout } from "./types.ts";

/** Brings a map of an older version to the present one, in one transaction. Any other file is left as it is. */
export function migrateSchema(database: Database): void {
  if (!isBlockMap(database) || database.pragma("user_version") !== 1) return;
  database.transaction("migrate block map", () => {
    database.execute(columns);
    migrateLeaves(database);
    database.execute(`PRAGMA user_version = ${schemaVersion}`);
  });
}

/** Of an old checkpoint it is not known which cut made it: it counts as stored once all of now is. */
const columns = `
  ALTER TABLE file ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE file ADD COLUMN is_pre_restore INTEGER NOT NULL DEFAULT 0
    CHECK (is_pre_restore IN (0, 1));
  UPDATE file SET cut = (SELECT value FROM attribute WHERE name = 'lastCut')
    WHERE kind = 'checkpoint';
  ALTER TABLE segment ADD COLUMN owner TEXT NOT NULL DEFAULT '';
  INSERT INTO attribute (name, value) VALUES ('foreignBytes', 0);
`;

function migrateLeaves(database: Database): void {
  const all = database.prepare<[], { id: number; data: Uint8Array }>("SELECT id, data FROM leaf");
  const update = database.prepare<[Uint8Array, number], never>(
    "UPDATE leaf SET data = ? WHERE id = ?",
  );
  for (const { id, data } of all.all()) update.run(fromVersion1(data).data, id);
}

const entrySizeBytes = 12;

/**
 * Version 1 had one slice a unit, of its first blocks, in entries of 12 bytes: segment u32 (0: not mapped),
 * offsetBlocks u16, lengthBlocks u8, zero u8, check u32.
 */
function fromVersion1(data: Uint8Array): Leaf {
  const entries = Buffer.from(data.buffer, data.byteOffset, data.length);
  if (data.length % entrySizeBytes !== 0 || data.length > entrySizeBytes * unitsPerLeaf) {
    throw new SpriteError("storage_failure", `a leaf of version 1 has ${data.length} bytes`);
  }
  const layouts = new Map<number, UnitLayout | null>();
  for (let at = 0; at < entries.length; at += entrySizeBytes) {
    const segment = entries.readUInt32LE(at);
    if (segment === 0) continue;
    const lengthBlocks = entries.readUInt8(at + 6);
    const stored = (1 << lengthBlocks) - 1;
    if (stored === 0 || stored > everyBlock) {
      throw new SpriteError("storage_failure", `an entry of version 1 has ${lengthBlocks} blocks`);
    }
    const offsetBlocks = entries.readUInt16LE(at + 4);
    const check = entries.readUInt32LE(at + 8);
    layouts.set(at / entrySizeBytes, [{ segment, offsetBlocks, stored, live: stored, check }]);
  }
  return Leaf.empty().with(layouts);
}
