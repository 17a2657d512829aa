import { mkdir, open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { mapSizeBytesMax as usualMapSizeBytesMax } from "../block-map/limits.ts";
import { headKey } from "../lease/head.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { destroyVolume } from "../volume/destroy.ts";
import { shipFirst } from "../volume/fork.ts";
import { SegmentChecks } from "./archive-map.ts";
import { assertArchivedMap } from "./archived-map.ts";
import { damaged, spriteKind, type Section } from "./format.ts";

export interface ImportOptions {
  store: ObjectStore;
  /** Of the volume to be made. */
  prefix: string;
  /** Those behind the sprite's own: `map` and then `segment`. */
  sections: AsyncIterable<Section>;
  scratchDirectory: string;
  mapSizeBytesMax?: number;
}

/** The section that every archive begins with. @throws SpriteError invalid_request */
export async function takeSprite(sections: AsyncIterator<Section>): Promise<object> {
  const first = await sections.next();
  if (first.done === true || first.value.kind !== spriteKind) throw damaged("it names no sprite");
  let sprite: unknown;
  try {
    sprite = JSON.parse(Buffer.from(first.value.bytes).toString("utf8"));
  } catch (cause) {
    throw damaged("what it says of its sprite is no JSON", cause);
  }
  if (typeof sprite === "object" && sprite !== null) return sprite;
  throw damaged("what it says of its sprite makes no sense");
}

/**
 * Makes a volume of an archive. Everything is verified before the volume exists, which it does once its head does.
 * @throws SpriteError already_exists, invalid_request (damaged; nothing is left of it), storage_failure
 */
export async function importVolume(options: ImportOptions): Promise<void> {
  const { store, prefix, scratchDirectory } = options;
  if ((await store.get(headKey(prefix))) !== null) {
    throw new SpriteError("already_exists", `there is a volume ${prefix}`);
  }
  await rm(scratchDirectory, { recursive: true, force: true });
  await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
  try {
    const path = join(scratchDirectory, "map.db");
    await storeSections(options, path);
    await shipFirst({ store, to: prefix }, path);
  } catch (error) {
    await destroyVolume({ store, prefix }).catch(() => undefined);
    throw error;
  } finally {
    await rm(scratchDirectory, { recursive: true, force: true });
  }
}

async function storeSections(options: ImportOptions, path: string): Promise<void> {
  const { store, prefix, sections, mapSizeBytesMax = usualMapSizeBytesMax } = options;
  const file = await open(path, "wx", 0o600);
  let map: BlockMap | null = null;
  let checks: SegmentChecks | null = null;
  let parts = 0;
  let mapSizeBytes = 0;
  const openMap = async (): Promise<SegmentChecks> => {
    await closeSynced(file);
    map = openArchived(path);
    return await SegmentChecks.of(map, "archive");
  };
  try {
    for await (const { kind, name, bytes } of sections) {
      if (kind === "map" && checks === null && name === String(parts)) {
        mapSizeBytes += bytes.length;
        if (mapSizeBytes > mapSizeBytesMax) throw damaged("its map is too large");
        await file.write(bytes);
        parts++;
      } else if (kind === "segment") {
        checks ??= await openMap();
        checks.check(name, bytes);
        await store.put(`${prefix}/${name}`, bytes);
      } else {
        throw damaged(`a section of kind ${kind} is not expected here`);
      }
    }
    checks ??= await openMap();
    checks.assertComplete();
  } finally {
    (map as BlockMap | null)?.close();
    await file.close().catch(() => undefined);
  }
}

async function closeSynced(file: FileHandle): Promise<void> {
  await file.sync();
  await file.close();
}

function openArchived(path: string): BlockMap {
  assertArchivedMap(path);
  try {
    return BlockMap.open(path);
  } catch (cause) {
    throw damaged("its map is no block map", cause);
  }
}
