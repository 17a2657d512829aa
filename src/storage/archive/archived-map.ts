/**
 * Looks at a map that came in an archive before anything else opens it. It may be anybody's work: its names
 * become paths, its owners become keys in the bucket, and SQLite runs its triggers.
 */
import { SpriteError } from "../../contract/errors.ts";
import { unitSizeBytes, unitsPerLeaf } from "../block-map/geometry.ts";
import { segmentIdMax } from "../block-map/leaf.ts";
import { createSchema, liveFileId, verifySchema } from "../block-map/schema.ts";
import { segmentSuffixSizeBytes } from "../block-map/segments.ts";
import { Database } from "../database.ts";
import { ownAttributePrefix } from "../volume/volume-state.ts";
import { archivedDiskSizeBytesMax } from "./limits.ts";

/** As `Checkpoints` gives them: they are names of directories and mount points. */
const checkpointName = /^(?:v[0-9]{1,15}|auto-[0-9]{8}T[0-9]{9}Z(?:-[0-9]{1,9})?)$/;
/** The greatest time that a Date can be (ECMA-262, 21.4.1.1). */
const timeMsMax = 8_640_000_000_000_000;

/** What each query finds is wrong: a row is one finding too many. */
const misfits: Readonly<Record<string, string>> = {
  "a segment is another volume's": "SELECT 1 FROM segment WHERE owner <> ''",
  "a segment has no proper key": `SELECT 1 FROM segment WHERE id NOT BETWEEN 1 AND ${segmentIdMax}
     OR length(suffix) <> ${segmentSuffixSizeBytes} OR size_bytes < 0`,
  "it has garbage": "SELECT 1 FROM garbage",
  "it keeps what a volume keeps for itself": `SELECT 1 FROM attribute
     WHERE substr(name, 1, ${ownAttributePrefix.length}) = '${ownAttributePrefix}'`,
  "its size makes no sense": `SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM attribute
     WHERE name = 'sizeBytes' AND typeof(value) = 'integer' AND value % ${unitSizeBytes} = 0
       AND value BETWEEN ${unitSizeBytes} AND ${archivedDiskSizeBytesMax})`,
  "a leaf lies outside of the disk": `SELECT 1 FROM root WHERE leaf_index < 0
     OR leaf_index * ${unitSizeBytes * unitsPerLeaf} >=
       (SELECT value FROM attribute WHERE name = 'sizeBytes')`,
  "it has not one live file": `SELECT 1 WHERE (SELECT group_concat(id) FROM file
     WHERE kind = 'live') IS NOT '${liveFileId}'`,
  "a time makes no sense": `SELECT 1 FROM file
     WHERE create_time_ms NOT BETWEEN 0 AND ${timeMsMax}`,
  // Each descends from an older one, so no descent goes round.
  "a checkpoint descends from none": `SELECT 1 FROM file WHERE source IS NOT NULL AND source NOT IN
     (SELECT older.id FROM file AS older WHERE older.kind = 'checkpoint'
        AND (file.kind = 'live' OR older.id < file.id))`,
};

/** @throws SpriteError invalid_request: it is no map, or not one that an export makes */
export function assertArchivedMap(path: string): void {
  let problem: string | null;
  try {
    const database = Database.open(path, { readOnly: true });
    try {
      verifySchema(database);
      problem = schemaProblem(database) ?? contentProblem(database);
    } finally {
      database.close();
    }
  } catch (cause) {
    throw refused("it is no block map", cause);
  }
  if (problem !== null) throw refused(problem);
}

function schemaProblem(database: Database): string | null {
  const empty = Database.open(":memory:", { create: true });
  try {
    createSchema(empty, { sizeBytes: unitSizeBytes });
    return schemaOf(database) === schemaOf(empty) ? null : "it has other tables";
  } finally {
    empty.close();
  }
}

/**
 * What can act or be read: every object, the triggers' text, and the columns. The tables' own text is another in a
 * map that was brought here from an older version.
 */
function schemaOf(database: Database): string {
  const objects = database.prepare<[], { type: string; name: string; tbl_name: string }>(
    `SELECT type, name, tbl_name, CASE type WHEN 'table' THEN sql LIKE 'CREATE TABLE%' ELSE sql END
     FROM sqlite_schema ORDER BY type, name`,
  );
  const columns = database.prepare<[string], object>(
    `SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)`,
  );
  const rows = objects.all();
  return JSON.stringify(
    rows.map((row) => [row, row.type === "table" ? columns.all(row.name) : null]),
  );
}

function contentProblem(database: Database): string | null {
  for (const [problem, query] of Object.entries(misfits)) {
    if (database.prepare<[], object>(`${query} LIMIT 1`).get() !== undefined) return problem;
  }
  const names = database.prepare<[], { name: string }>(
    "SELECT name FROM file WHERE kind = 'checkpoint'",
  );
  for (const { name } of names.iterate()) {
    if (!checkpointName.test(name)) return "a checkpoint has no proper name";
  }
  return null;
}

function refused(problem: string, cause?: unknown): SpriteError {
  return new SpriteError("invalid_request", `the archive's map is refused: ${problem}`, { cause });
}
