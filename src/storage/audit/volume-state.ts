/** A volume as the bucket has it, for whoever looks at it without taking it. */
import { rm } from "node:fs/promises";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { sidecarPaths } from "../database.ts";
import { decodeHead, headKey, type Head } from "../lease/head.ts";
import type { LegacyHead, LegacyMap } from "../lease/legacy-head.ts";
import type { ChainFile } from "../litestream/database-replica.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { listChainOf, openChain, restoreLegacyMap, restoreMap } from "../volume/map-chain.ts";
import { mapReadTriesMax } from "./limits.ts";

export interface VolumePlace {
  store: ObjectStore;
  prefix: string;
  signal?: AbortSignal | undefined;
}

export interface VolumeState {
  head: Head | LegacyHead;
  etag: string;
  /** The newest TXID in the bucket; 0 for none. */
  txid: number;
  /** When that came into the bucket, by the bucket's own clock; Infinity when it cannot be told. */
  txidAtMs: number;
  /** A copy that is the caller's, to be closed; null for a volume that has not got to its first transaction. */
  map: BlockMap | null;
}

/** Null when there is no such volume. @throws SpriteError storage_failure: its head or its map cannot be read */
export async function readVolume(
  place: VolumePlace,
  /** Where the copy of the map goes, replacing any other. */
  path: string,
): Promise<VolumeState | null> {
  const { store, prefix, signal } = place;
  for (let tries = 1; ; tries++) {
    const found = await store.getWithEtag(headKey(prefix), { signal });
    if (found === null) return null;
    try {
      const head = decodeHead(found.bytes);
      const files = await chainOf(place);
      const map = await copyMap(place, { head, files, path });
      return { head, etag: found.etag, ...newestOf(files), map };
    } catch (error) {
      signal?.throwIfAborted();
      // Its writer merges files of the chain: what was listed may be gone a moment later.
      if (tries >= mapReadTriesMax) throw error;
    }
  }
}

export function holderOf(head: Head | LegacyHead): Head["holder"] {
  return head.formatVersion === 2 ? head.holder : null;
}

export function legacyMapOf(head: Head | LegacyHead): LegacyMap | null {
  return head.formatVersion === 2 ? head.legacyMap : head.map;
}

async function chainOf({ store, prefix }: VolumePlace): Promise<ChainFile[]> {
  return await listChainOf({ store, prefix, clock: { nowMs: Date.now } });
}

/** A merged file is uploaded later than its transactions; the earliest upload of the newest one counts. */
function newestOf(files: readonly ChainFile[]): { txid: number; txidAtMs: number } {
  const txid = Math.max(0, ...files.map(({ maxTxid }) => maxTxid));
  const uploads = files.filter(({ maxTxid }) => maxTxid === txid);
  return { txid, txidAtMs: Math.min(Infinity, ...uploads.map((file) => file.createdAtMs)) };
}

async function copyMap(
  place: VolumePlace,
  options: { head: Head | LegacyHead; files: readonly ChainFile[]; path: string },
): Promise<BlockMap | null> {
  const { head, files, path } = options;
  const { store, prefix } = place;
  const chain = { store, prefix, clock: { nowMs: Date.now } };
  for (const stale of [path, ...sidecarPaths(path)]) await rm(stale, { force: true });
  const legacyMap = legacyMapOf(head);
  if (files.length > 0) {
    await restoreMap(chain, openChain(chain, { writer: "0", files }), path);
  } else if (legacyMap !== null) {
    await restoreLegacyMap(chain, legacyMap, path);
  } else if (head.formatVersion === 2 && head.txid === 0) {
    return null;
  } else {
    throw new SpriteError("storage_failure", `${prefix}: the chain of its map is missing`);
  }
  return BlockMap.open(path);
}
