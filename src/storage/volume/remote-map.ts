/**
 * A map that is not here yet, read row by row from its pages in the bucket: where units are and what segments are
 * called, which is all that a read of the disk needs. It never changes.
 */
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { unitsPerLeaf } from "../block-map/geometry.ts";
import { Leaf } from "../block-map/leaf.ts";
import { liveFileId, schemaVersion } from "../block-map/schema.ts";
import { segmentKey } from "../block-map/segments.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { PageReader } from "../remote-database/pages.ts";
import { RemoteTables, type RemoteTable } from "../remote-database/table.ts";
import { remoteLeavesMax } from "./limits.ts";

/** SQLite's header, offset 60: the user version (fileformat2.html, section 1.3). */
const userVersionAt = 60;

export class RemoteMap {
  readonly #prefix: string;
  readonly #attribute: RemoteTable;
  readonly #root: RemoteTable;
  readonly #leaf: RemoteTable;
  readonly #segment: RemoteTable;
  readonly #leaves = new Map<number, Promise<Leaf | null>>();
  readonly #keys = new Map<number, Promise<string>>();

  private constructor(
    prefix: string,
    tables: Record<"attribute" | "root" | "leaf" | "segment", RemoteTable>,
  ) {
    this.#prefix = prefix;
    this.#attribute = tables.attribute;
    this.#root = tables.root;
    this.#leaf = tables.leaf;
    this.#segment = tables.segment;
  }

  /** Null for a map of another version, which has to be here to be read. @throws SpriteError storage_failure */
  static async open(pages: PageReader, prefix: string): Promise<RemoteMap | null> {
    const first = await pages.readPage(1);
    const header = new DataView(first.buffer, first.byteOffset, first.length);
    if (header.getUint32(userVersionAt) !== schemaVersion) return null;
    const tables = await RemoteTables.open(pages);
    const [attribute, root, leaf, segment] = await Promise.all([
      tables.table("attribute"),
      tables.table("root"),
      tables.table("leaf"),
      tables.table("segment"),
    ]);
    return new RemoteMap(prefix, { attribute, root, leaf, segment });
  }

  async attribute(name: string): Promise<string | null> {
    const row = await this.#attribute.findRow(name);
    return row === null ? null : String(row[1]);
  }

  /** Where each unit of the live file is; null for one of zeros. @throws SpriteError storage_failure */
  async locate(units: readonly number[]): Promise<(UnitLayout | null)[]> {
    return await Promise.all(
      units.map(async (unit) => {
        const leaf = await this.#leafAt(Math.floor(unit / unitsPerLeaf));
        return leaf?.layout(unit % unitsPerLeaf) ?? null;
      }),
    );
  }

  /** The segment's key in the bucket. @throws SpriteError storage_failure */
  keyOf(segment: number): Promise<string> {
    return remember(this.#keys, segment, async () => {
      const row = await this.#segment.findRow(segment);
      const [, suffix, , , , owner] = must(row, `segment ${segment} has a row`);
      if (!(suffix instanceof Uint8Array)) throw damaged("a segment has no name");
      // A row that is older than the column ends before it.
      const ownerPrefix = typeof owner === "string" && owner !== "" ? owner : this.#prefix;
      return `${ownerPrefix}/${segmentKey(segment, suffix)}`;
    });
  }

  #leafAt(index: number): Promise<Leaf | null> {
    return remember(this.#leaves, index, async () => {
      const root = await this.#root.findRow(liveFileId, index);
      if (root === null) return null;
      const [, , id] = root;
      if (typeof id !== "number") throw damaged("a root names no leaf");
      const [, , data] = must(await this.#leaf.findRow(id), `leaf ${id} has a row`);
      if (!(data instanceof Uint8Array)) throw damaged("a leaf has no content");
      return new Leaf(data);
    });
  }
}

/** Looked up once, also when many ask at a time; a failure is forgotten. */
function remember<T>(
  known: Map<number, Promise<T>>,
  id: number,
  look: () => Promise<T>,
): Promise<T> {
  const found = known.get(id);
  if (found !== undefined) return found;
  const looking = look();
  looking.catch(() => known.delete(id));
  if (known.size >= remoteLeavesMax) known.delete(known.keys().next().value ?? id);
  known.set(id, looking);
  return looking;
}

function damaged(reason: string): SpriteError {
  return new SpriteError("storage_failure", `the map in the bucket is damaged: ${reason}`);
}
