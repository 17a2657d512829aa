/**
 * Which state a volume opens with: the local one when it is what the bucket's head was written
 * from, else the bucket's.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { setAside } from "../chunk-cache/local-cache.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { decodeHead, headKey, type Head } from "./head.ts";

/** Attributes that the volume keeps in the map for itself. */
export const ownAttributePrefix = "volume.";
export const ownAttribute = {
  /** Nonce of the head that was written last from this map. */
  lastNonce: "volume.lastNonce",
  /** Nonce of a head that may have been written: the process may have died before it knew. */
  pendingNonce: "volume.pendingNonce",
  /** Ties the residency log to this very map file; never the same on another machine. */
  cacheId: "volume.cacheId",
  /** "1" after an orderly close: nothing of a crash is left in the bucket. */
  isClean: "volume.isClean",
} as const;

export interface OpenMapOptions {
  store: ObjectStore;
  prefix: string;
  cacheDirectory: string;
  /** For a new volume. */
  sizeBytes: number;
  readOnly: boolean;
  nowMs: () => number;
}

export interface OpenedMap {
  map: BlockMap;
  /** Null for a new volume, whose first head is yet to be written. */
  head: { value: Head; etag: string } | null;
  /** Why local state was set aside; null when none was. */
  distrust: string | null;
  /** The last process on this state ended in order. */
  wasClean: boolean;
}

const mapName = "map.db";
export const stagingName = "staging";

/**
 * @throws SpriteError storage_failure, not_found (read-only and there is no such volume),
 * invalid_request (size)
 */
export async function openMap(options: OpenMapOptions): Promise<OpenedMap> {
  const { store, prefix, cacheDirectory } = options;
  mkdirSync(cacheDirectory, { recursive: true, mode: 0o700 });
  const tagged = await store.getWithEtag(headKey(prefix));
  const local = openLocal(options);
  if (tagged === null) {
    if (local instanceof BlockMap) refuseWithoutBucket(local, prefix);
    if (options.readOnly) throw new SpriteError("not_found", `there is no volume ${prefix}`);
    return createNew(options);
  }
  const head = { value: decodeHead(tagged.bytes), etag: tagged.etag };
  if (local instanceof BlockMap) {
    const wasClean = local.getAttribute(ownAttribute.isClean) === "1";
    if (isWrittenFrom(local, head.value)) {
      setIfOther(local, ownAttribute.lastNonce, head.value.nonce);
      if (!options.readOnly) setIfOther(local, ownAttribute.isClean, "0");
      return { map: local, head, distrust: null, wasClean };
    }
    local.close();
  }
  const distrust =
    local === null
      ? null
      : local instanceof BlockMap
        ? "the bucket was written by another since"
        : `the local map cannot be opened: ${local.message}`;
  if (distrust !== null) setAsideAll(options);
  const map = await fetchMap(options, head.value);
  return { map, head, distrust, wasClean: false };
}

function openLocal(options: OpenMapOptions): BlockMap | Error | null {
  const path = join(options.cacheDirectory, mapName);
  if (!existsSync(path)) return null;
  try {
    return BlockMap.open(path, { now: options.nowMs });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** A bucket that has lost a volume which was there is not the same as a new volume. */
function refuseWithoutBucket(local: BlockMap, prefix: string): void {
  const wasPublished = (local.getAttribute(ownAttribute.lastNonce) ?? "") !== "";
  local.close();
  if (!wasPublished) return;
  throw new SpriteError(
    "storage_failure",
    `the bucket has no ${headKey(prefix)}, but this machine has stored the volume there before: is it the right bucket?`,
  );
}

function isWrittenFrom(local: BlockMap, head: Head): boolean {
  const last = local.getAttribute(ownAttribute.lastNonce);
  const pending = local.getAttribute(ownAttribute.pendingNonce);
  return (head.nonce === last || head.nonce === pending) && local.lastCut >= head.cut;
}

/** Every commit is a sync of the disk. */
function setIfOther(map: BlockMap, name: string, value: string): void {
  if (map.getAttribute(name) !== value) map.setAttribute(name, value);
}

function createNew(options: OpenMapOptions): OpenedMap {
  const { sizeBytes, cacheDirectory } = options;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % unitSizeBytes !== 0) {
    throw new SpriteError("invalid_request", "a volume's size is a multiple of 64 KiB");
  }
  // What lies here is of a volume that never reached the bucket.
  for (const name of localNames(cacheDirectory)) {
    rmSync(join(cacheDirectory, name), { recursive: true, force: true });
  }
  const map = BlockMap.create(join(cacheDirectory, mapName), { sizeBytes, now: options.nowMs });
  map.setAttribute(ownAttribute.cacheId, newNonce());
  return { map, head: null, distrust: null, wasClean: true };
}

async function fetchMap(options: OpenMapOptions, head: Head): Promise<BlockMap> {
  const { store, prefix, cacheDirectory } = options;
  const key = `${prefix}/${head.map}`;
  const copy = await store.get(key);
  if (copy === null) throw new SpriteError("storage_failure", `the map's copy ${key} is missing`);
  const sha256 = createHash("sha256").update(copy).digest("hex");
  if (sha256 !== head.mapSha256) {
    throw new SpriteError("storage_failure", `the map's copy ${key} is damaged`);
  }
  rmSync(join(cacheDirectory, stagingName), { recursive: true, force: true });
  const path = join(cacheDirectory, mapName);
  await BlockMap.restoreFile(path, copy);
  const map = BlockMap.open(path, { now: options.nowMs });
  // The order matters: without a nonce a half-prepared map is fetched again.
  map.setAttribute(ownAttribute.cacheId, newNonce());
  map.setAttribute(ownAttribute.pendingNonce, "");
  map.setAttribute(ownAttribute.isClean, "0");
  map.setAttribute(ownAttribute.lastNonce, head.nonce);
  return map;
}

function setAsideAll(options: OpenMapOptions): void {
  setAside(options.cacheDirectory, localNames(options.cacheDirectory), options.nowMs());
}

function localNames(cacheDirectory: string): string[] {
  return readdirSync(cacheDirectory).filter((name) => !name.startsWith("orphan-"));
}

export function newNonce(): string {
  return randomBytes(16).toString("hex");
}
