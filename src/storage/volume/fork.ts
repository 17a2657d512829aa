/**
 * Makes a volume from another one's state without copying its content: the fork's map names the source's
 * segments, and a marker at each volume that owns some keeps them (docs/formats/head.md, "Forks").
 */
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { systemClock, type LeaseClock } from "../lease/clock.ts";
import { encodeHead, headKey, type Head } from "../lease/head.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { destroyVolume, finishDestroyed } from "./destroy.ts";
import { hasTombstone, putMarker, putOrigin } from "./fork-markers.ts";
import { forkTriesMax } from "./limits.ts";
import { LocalRecord } from "./local-state.ts";
import {
  chainPrefix,
  hintOf,
  listChainOf,
  openCapture,
  openChain,
  restoreMap,
} from "./map-chain.ts";

export interface ForkVolumeOptions {
  store: ObjectStore;
  /** Prefix of the source, which may be running: the fork begins with what the bucket has of it. */
  from: string;
  /** Null: the newest state in the bucket. */
  checkpoint: string | null;
  /** Prefix of the volume to be made. */
  to: string;
  /** Names the markers; the fork's own id does. */
  forkId: string;
  /** A local directory for the map meanwhile; it is made, and removed. */
  scratchDirectory: string;
  clock?: LeaseClock;
}

/**
 * @throws SpriteError not_found (no such source or checkpoint), already_exists, storage_failure. Nothing is left of a
 * fork that was not made, unless the store fails while that is cleared: then `destroyVolume` clears it.
 */
export async function forkVolume(options: ForkVolumeOptions): Promise<void> {
  const { store, from, to, scratchDirectory } = options;
  if ((await store.get(headKey(to))) !== null) {
    throw new SpriteError("already_exists", `there is a volume ${to}`);
  }
  if ((await store.get(headKey(from))) === null) {
    throw new SpriteError("not_found", `there is no volume ${from}`);
  }
  await rm(scratchDirectory, { recursive: true, force: true });
  await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
  try {
    await makeFork(options);
  } catch (error) {
    // What it was is thrown; that something is left is found by whoever destroys the fork.
    await destroyVolume({ store, prefix: to }).catch(() => undefined);
    throw error;
  } finally {
    await rm(scratchDirectory, { recursive: true, force: true });
  }
}

/**
 * Whether this machine may have something of the volume that its bucket has not: it was not closed in order here.
 * To be asked while nothing here has it open.
 */
export function mayHaveMore(volume: { cacheDirectory: string; prefix: string }): boolean {
  const record = LocalRecord.read(volume.cacheDirectory, volume.prefix);
  return record !== null && !record.state.isClean;
}

async function makeFork(options: ForkVolumeOptions): Promise<void> {
  const { store, from, to, forkId, checkpoint, scratchDirectory } = options;
  const path = join(scratchDirectory, "map.db");
  // Of an attempt that died: its transactions would be taken for another writer's.
  await store.deletePrefix(`${chainPrefix(to)}/`);
  await putOrigin(store, to, { forkId, owners: [from] });
  // The marker first: from here on nothing of the source is deleted, whatever is read below.
  await putMarker(store, { owner: from, forkId, fork: to, segments: "all" });
  if (await hasTombstone(store, from)) {
    throw new SpriteError("not_found", `volume ${from} was destroyed`);
  }
  await readMap(options, path);
  BlockMap.makeFork(path, { fromCheckpoint: checkpoint, owner: from });
  await pinForeign(options, path);
  await shipFirst(options, path);
  if (await hasTombstone(store, from)) await finishDestroyed({ store, prefix: from });
}

/** A running source merges the files of its chain: what was listed may be gone a moment later. */
export async function readMap(
  options: Pick<ForkVolumeOptions, "store" | "from" | "clock">,
  path: string,
): Promise<void> {
  const { store, from, clock = systemClock } = options;
  const place = { store, prefix: from, clock };
  for (let tries = 1; ; tries++) {
    try {
      const files = await listChainOf(place);
      if (files.length === 0) throw new SpriteError("not_found", `volume ${from} is empty`);
      await restoreMap(place, openChain(place, { writer: "0", files }), path);
      return;
    } catch (error) {
      const isFinal = error instanceof SpriteError && error.code === "not_found";
      if (isFinal || tries >= forkTriesMax) throw error;
    }
  }
}

/** Says at each owner what the fork needs, the source last: until then it keeps everything. */
async function pinForeign(options: ForkVolumeOptions, path: string): Promise<void> {
  const { store, from, to, forkId } = options;
  const map = BlockMap.open(path);
  const byOwner = new Map<string, string[]>([[from, []]]);
  for (const { owner, ids } of map.foreignSegments()) {
    byOwner.set(
      owner,
      ids.map((id) => map.segmentKey(id)),
    );
  }
  map.close();
  await putOrigin(store, to, { forkId, owners: [...byOwner.keys()] });
  const others = [...byOwner].filter(([owner]) => owner !== from);
  for (const [owner, segments] of others) {
    await putMarker(store, { owner, forkId, fork: to, segments });
  }
  const segments = must(byOwner.get(from), "the source is an owner");
  await putMarker(store, { owner: from, forkId, fork: to, segments });
}

/** Makes a volume of a map, whose segments are there. It exists once its head does. */
export async function shipFirst(
  options: Pick<ForkVolumeOptions, "store" | "to" | "clock">,
  path: string,
): Promise<void> {
  const { store, to, clock = systemClock } = options;
  const writer = randomBytes(8).toString("hex");
  const map = BlockMap.open(path, { isReplicated: true });
  const capture = openCapture(map, null);
  const chain = openChain({ store, prefix: to, clock }, { writer, files: [] });
  const { sizeBytes } = map;
  try {
    await chain.ship(must(capture.capture(), "a map has pages"));
  } finally {
    map.close();
    capture.close();
  }
  const head: Head = {
    ...{ formatVersion: 2, generation: 1, holder: null, writer },
    ...{ txid: must(chain.position, "it was shipped").txid, files: hintOf(chain) },
    ...{ sizeBytes, legacyMap: null, writtenAtMs: clock.nowMs() },
  };
  if ((await store.swap(headKey(to), encodeHead(head), { etag: null })) === null) {
    throw new SpriteError("already_exists", `there is a volume ${to}`);
  }
}
