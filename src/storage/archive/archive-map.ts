/** The map of an archived volume: every segment it names is its own, and each one's content is checked by it. */
import { setImmediate as turn } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { unitsPerLeaf } from "../block-map/geometry.ts";
import { Leaf } from "../block-map/leaf.ts";
import { sliceRange, verifySlice } from "../block-map/segment.ts";
import { Database } from "../database.ts";
import { ownAttributePrefix } from "../volume/volume-state.ts";
import { leavesAtOnce } from "./limits.ts";

interface ArchivedSegment {
  id: number;
  /** Below the prefix of its owner, and of whoever imports it. */
  key: string;
  /** Prefix of the owner, when that is not the volume itself. */
  owner: string;
}

interface SliceRow {
  place: number;
  stored: number;
  content: number;
}

/**
 * What `map` names, in the order of its ids. A copy at `path` becomes the archive's: no segment is another's, none is
 * garbage, and nothing tells whose it was.
 */
export function prepareMap(path: string): ArchivedSegment[] {
  const map = BlockMap.open(path);
  let segments: ArchivedSegment[];
  try {
    const own = map.segments().filter(({ isGarbage }) => !isGarbage);
    const foreign = map
      .foreignSegments()
      .flatMap(({ owner, ids }) => ids.map((id) => ({ id, owner, key: map.segmentKey(id) })));
    segments = [...own.map(({ id, key }) => ({ id, key, owner: "" })), ...foreign].toSorted(
      (a, b) => a.id - b.id,
    );
  } finally {
    map.close();
  }
  const database = Database.open(path);
  try {
    database.transaction("make the map an archive's", () => {
      database.execute(`
        DELETE FROM garbage;
        DELETE FROM segment WHERE refs = 0;
        UPDATE segment SET owner = '';
        UPDATE attribute SET value = (SELECT coalesce(sum(size_bytes), 0) FROM segment)
          WHERE name = 'namedBytes';
        UPDATE attribute SET value = 0 WHERE name IN ('garbageBytes', 'foreignBytes');
        DELETE FROM attribute WHERE name LIKE '${ownAttributePrefix}%';
      `);
    });
    database.execute("VACUUM");
  } finally {
    database.close();
  }
  return segments;
}

/** Where segments come from says whose fault it is when they are not right: the caller's, or ours. */
export type SegmentSource = "archive" | "bucket";

/** Knows of each segment which bytes the map expects in it. */
export class SegmentChecks {
  readonly #map: BlockMap;
  readonly #source: SegmentSource;
  readonly #open = new Map<string, { id: number; sizeBytes: number }>();

  private constructor(map: BlockMap, source: SegmentSource) {
    this.#map = map;
    this.#source = source;
    for (const { id, key, sizeBytes } of map.segments()) this.#open.set(key, { id, sizeBytes });
  }

  /** Reads the whole map. @throws SpriteError the source's code: it contradicts itself */
  static async of(map: BlockMap, source: SegmentSource): Promise<SegmentChecks> {
    const [problem] = map.checkIntegrity();
    if (problem !== undefined) throw refusal(source, `has a damaged map: ${problem}`);
    const { connection } = map;
    connection.execute(`CREATE TEMP TABLE slice (
      segment INTEGER, place INTEGER, stored INTEGER, content INTEGER,
      PRIMARY KEY (segment, place, stored)
    ) WITHOUT ROWID`);
    const leaves = connection.prepare<[number, number], { id: number; data: Uint8Array }>(
      "SELECT id, data FROM leaf WHERE id > ? ORDER BY id LIMIT ?",
    );
    const insert = connection.prepare<[number, number, number, number], never>(
      "INSERT OR IGNORE INTO slice VALUES (?, ?, ?, ?)",
    );
    for (let last = 0; ;) {
      const some = leaves.all(last, leavesAtOnce);
      connection.transaction("note slices", () => {
        for (const { data } of some) {
          const leaf = new Leaf(data);
          for (let unit = 0; unit < unitsPerLeaf; unit++) {
            for (const slice of leaf.layout(unit) ?? []) {
              insert.run(slice.segment, slice.offsetBlocks, slice.stored, slice.check);
            }
          }
        }
      });
      const newest = some.at(-1);
      if (newest === undefined) break;
      last = newest.id;
      await turn();
    }
    return new SegmentChecks(map, source);
  }

  /** Each segment once. @throws SpriteError the source's code, storage_failure */
  check(key: string, bytes: Uint8Array): void {
    const expected = this.#open.get(key);
    if (expected === undefined) throw refusal(this.#source, `has a segment too many: ${key}`);
    if (bytes.length !== expected.sizeBytes) {
      throw refusal(this.#source, `has segment ${key} in another size`);
    }
    const slices = this.#map.connection.prepare<[number], SliceRow>(
      "SELECT place, stored, content FROM slice WHERE segment = ?",
    );
    for (const { place, stored, content } of slices.all(expected.id)) {
      const slice = { offsetBlocks: place, stored, check: content };
      const { offsetBytes, lengthBytes } = sliceRange(slice);
      verifySlice(slice, bytes.subarray(offsetBytes, offsetBytes + lengthBytes), key);
    }
    this.#open.delete(key);
  }

  /** @throws SpriteError the source's code: one was not there */
  assertComplete(): void {
    const [missing] = this.#open.keys();
    if (missing === undefined) return;
    throw refusal(this.#source, `lacks segment ${missing}`);
  }
}

function refusal(source: SegmentSource, problem: string): SpriteError {
  const code = source === "archive" ? "invalid_request" : "storage_failure";
  return new SpriteError(code, `the ${source} ${problem}`);
}
