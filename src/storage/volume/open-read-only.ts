/** Opens a volume that nobody here writes: an image. It takes no lease, and local state is only a cache. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { decodeHead, headKey, type Head, type TaggedHead } from "../lease/head.ts";
import type { LegacyHead } from "../lease/legacy-head.ts";
import { checkOfMap } from "./map-check.ts";
import { filesOf, listChainOf, openChain, restoreLegacyMap, restoreMap } from "./map-chain.ts";
import { LocalRecord } from "./local-state.ts";
import { mapName, type OpenStateOptions } from "./volume-state.ts";
import { localNames } from "./orphan.ts";
import type { VolumeOptions } from "./volume.ts";

export interface OpenedReadOnly {
  map: BlockMap;
  cacheId: string;
}

type ReadOnlyOptions = Omit<OpenStateOptions, "sizeBytes" | "server"> &
  Pick<VolumeOptions, "otherCacheDirectory">;

/** @throws SpriteError not_found, storage_failure, conflict (somebody has it, and so something newer) */
export async function openReadOnly(options: ReadOnlyOptions): Promise<OpenedReadOnly> {
  const { store, prefix, cacheDirectory, clock, otherCacheDirectory } = options;
  mkdirSync(cacheDirectory, { recursive: true, mode: 0o700 });
  const found = await store.getWithEtag(headKey(prefix));
  if (found === null) throw new SpriteError("not_found", `there is no volume ${prefix}`);
  const head = { value: decodeHead(found.bytes), etag: found.etag };
  // An image has no holder; a disk that one shares with its owner may.
  const isHeld = head.value.formatVersion === 2 && head.value.holder !== null;
  if (isHeld && otherCacheDirectory !== undefined) {
    throw new SpriteError("conflict", `the volume ${prefix} is being written`);
  }
  const path = join(cacheDirectory, mapName);
  const record = existsSync(path) ? LocalRecord.read(cacheDirectory, prefix) : null;
  const isSame = record?.state.mapCheck === null || record?.state.mapCheck === checkOfMap(path);
  if (record !== null && isSame && record.state.head?.etag === found.etag) {
    try {
      const map = BlockMap.open(path, { now: clock.nowMs });
      return { map, cacheId: record.state.cacheId };
    } catch (error) {
      // A damaged copy is fetched again, as a missing one.
      if (!(error instanceof SpriteError)) throw error;
    }
  }
  return await fetchReadOnly(options, head);
}

async function fetchReadOnly(
  options: ReadOnlyOptions,
  head: { value: Head | LegacyHead; etag: string },
): Promise<OpenedReadOnly> {
  const { cacheDirectory, clock, prefix } = options;
  const path = join(cacheDirectory, mapName);
  for (const name of localNames(cacheDirectory)) {
    rmSync(join(cacheDirectory, name), { recursive: true, force: true });
  }
  const { value } = head;
  if (value.formatVersion === 1) {
    await restoreLegacyMap(options, value.map, path);
  } else {
    const isExact = value.holder === null && value.files.length > 0;
    const files = isExact ? filesOf(value) : await listChainOf(options);
    if (files.length === 0) throw new SpriteError("not_found", `volume ${prefix} is empty`);
    await restoreMap(options, openChain(options, { writer: value.writer, files }), path);
  }
  const map = BlockMap.open(path, { now: clock.nowMs });
  const cacheId = randomBytes(16).toString("hex");
  await new LocalRecord(cacheDirectory, {
    ...{
      formatVersion: 1,
      prefix,
      cacheId,
      writers: [],
      generation: 0,
      wal: null,
      isClean: true,
      isHydrating: false,
      // Nobody writes it.
      mapCheck: checkOfMap(path),
    },
    head: value.formatVersion === 2 ? ({ value, etag: head.etag } satisfies TaggedHead) : null,
    ...{ txid: value.formatVersion === 2 ? value.txid : 0, syncedCut: map.lastCut },
  }).save({});
  return { map, cacheId };
}
