import { createReadStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { systemClock } from "../lease/clock.ts";
import { headKey } from "../lease/head.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { readMap } from "../volume/fork.ts";
import { prepareMap, SegmentChecks } from "./archive-map.ts";
import { spriteKind, writeArchive, type Section } from "./format.ts";
import { mapPartSizeBytes } from "./limits.ts";

export interface ExportOptions {
  store: ObjectStore;
  /** Of the volume, which may be in use: what the bucket has of it is exported. */
  prefix: string;
  /** What the registry knows of the sprite: goes into the archive as it is. */
  sprite: object;
  /** A local directory for the map meanwhile; it is made, and removed. */
  scratchDirectory: string;
}

/**
 * The volume with its checkpoints, as one archive. What it holds was verified on the way.
 * @throws SpriteError not_found, storage_failure: what has been yielded until then has no end, and is refused
 */
export async function* exportVolume(options: ExportOptions): AsyncGenerator<Uint8Array> {
  const { store, prefix, scratchDirectory } = options;
  if ((await store.get(headKey(prefix))) === null) {
    throw new SpriteError("not_found", `there is no volume ${prefix}`);
  }
  await rm(scratchDirectory, { recursive: true, force: true });
  await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
  try {
    yield* writeArchive(sectionsOf(options));
  } finally {
    await rm(scratchDirectory, { recursive: true, force: true });
  }
}

async function* sectionsOf(options: ExportOptions): AsyncGenerator<Section> {
  const { store, prefix, sprite, scratchDirectory } = options;
  yield { kind: spriteKind, name: "", bytes: Buffer.from(JSON.stringify(sprite)) };
  const path = join(scratchDirectory, "map.db");
  await readMap({ store, from: prefix, clock: systemClock }, path);
  const segments = prepareMap(path);
  const parts = createReadStream(path, { highWaterMark: mapPartSizeBytes });
  let part = 0;
  for await (const bytes of parts) {
    yield { kind: "map", name: String(part++), bytes: bytes as Uint8Array };
  }
  const map = BlockMap.open(path);
  try {
    const checks = await SegmentChecks.of(map, "bucket");
    for (const { key, owner } of segments) {
      const bytes = await store.get(`${owner === "" ? prefix : owner}/${key}`);
      if (bytes === null) throw new SpriteError("storage_failure", `segment ${key} is missing`);
      checks.check(key, bytes);
      yield { kind: "segment", name: key, bytes };
    }
    checks.assertComplete();
  } finally {
    map.close();
  }
}
