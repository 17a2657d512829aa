/**
 * Which state a volume opens with. The lease comes first; then the local state if it is what the bucket was
 * written from, else the bucket's. A former holder that never let go is fenced before this returns.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { headKey } from "../lease/head.ts";
import { VolumeLease } from "../lease/volume-lease.ts";
import type { Chain } from "../litestream/database-replica.ts";
import {
  chainOf,
  EarlySource,
  hydrate,
  newRecord,
  openBucketState,
  type ColdState,
} from "./bucket-state.ts";
import { isOurs, LocalRecord } from "./local-state.ts";
import { MappedUnits } from "./mapped-units.ts";
import { mapName, type OpenedState, type OpenStateOptions } from "./volume-state.ts";
import { checkOfMap } from "./map-check.ts";
import { openCapture, openChain, restoreLegacyMap, restoreMap, writerOf } from "./map-chain.ts";
import { legacyCacheId } from "./legacy-state.ts";
import { localNames, setAsideAll } from "./orphan.ts";

/** @throws SpriteError conflict (a live server holds it), storage_failure, invalid_request (size) */
export async function openState(options: OpenStateOptions): Promise<OpenedState | ColdState> {
  const { prefix, cacheDirectory } = options;
  mkdirSync(cacheDirectory, { recursive: true, mode: 0o700 });
  const record = LocalRecord.read(cacheDirectory, prefix);
  const known = record?.state.writers ?? [];
  const writer = writerFor(record);
  // Before the head can name this writer: a crash in between leaves a head that is known to be ours.
  if (!known.includes(writer)) await record?.save({ writers: [...known, writer] });
  // A round trip less: what the head names is looked at while the head is taken.
  const early = record === null ? new EarlySource(options) : null;
  const acquiring = acquire(options, { record, writer, early });
  // Whoever waits for it below hears of its failure.
  acquiring.catch(() => undefined);
  // The map's file is looked at while the request is on its way.
  await nextTurn();
  const mapCheck = record?.state.mapCheck ?? null;
  const isMapSound = mapCheck === null || mapCheck === checkOfMap(join(cacheDirectory, mapName));
  const lease = await acquiring;
  const { previous } = lease;
  if (previous === null) return await createNew(options, lease);
  if (record === null) return await openWithoutRecord(options, lease, early);
  const opened = await openLocal(options, { lease, record, isMapSound });
  if (typeof opened !== "string") return opened;
  await setAsideAll(options, { reason: opened, state: record.state });
  return await openCold(options, lease, { distrust: opened, early: null });
}

/**
 * A new id for this opening. That of an attempt that failed is used again, since the head may name it: so an outage
 * of the bucket, however many attempts it sees, never makes local state forget which heads are its own.
 */
export function writerFor(record: LocalRecord | null): string {
  const last = record?.state.writers.at(-1);
  const isPending = last !== undefined && last !== record?.state.head?.value.writer;
  return isPending ? last : randomBytes(8).toString("hex");
}

async function openWithoutRecord(
  options: OpenStateOptions,
  lease: VolumeLease,
  early: EarlySource | null,
): Promise<OpenedState | ColdState> {
  const previous = must(lease.previous, "the volume was there");
  if (!existsSync(join(options.cacheDirectory, mapName))) {
    return await openCold(options, lease, { distrust: null, early });
  }
  const map = openMapFile(options);
  if (map instanceof BlockMap) {
    // Local state of format 1 that the bucket's head of format 1 was written from goes on as it is.
    const cacheId = legacyCacheId(map, previous);
    if (cacheId !== null) {
      const record = await newRecord(options, lease, null, { cacheId });
      return { ...(await beginChain(options, { lease, map, record })), isAhead: true };
    }
    map.close();
  }
  const distrust = "there is no record of what it was stored from";
  await setAsideAll(options, { reason: distrust, state: null });
  return await openCold(options, lease, { distrust, early });
}

async function openCold(
  options: OpenStateOptions,
  lease: VolumeLease,
  found: { distrust: string | null; early: EarlySource | null },
): Promise<OpenedState | ColdState> {
  const cold = await openBucketState(options, lease, { ...found, record: null });
  return cold ?? (await openWithoutChain(options, lease, found.distrust));
}

async function acquire(
  options: OpenStateOptions,
  {
    record,
    writer,
    early,
  }: { record: LocalRecord | null; writer: string; early: EarlySource | null },
): Promise<VolumeLease> {
  const { store, prefix, server, clock, sizeBytes } = options;
  const saved = record?.state.head ?? null;
  return await VolumeLease.acquire({
    ...{ store, prefix, server, clock, writer, saved },
    newSizeBytes: sizeBytes,
    onFound: async (head) => {
      if (record === null || !isOurs(record.state, head)) return;
      // Seen now: if this attempt is not heard of either, the next one knows what it replaced.
      const { generation } = head;
      if (generation > record.state.generation) await record.save({ generation });
    },
    onFree: (head) => early?.begin(head),
    missingError: missingError(prefix, { wasStored: saved !== null, sizeBytes }),
  });
}

/** Why the volume may not be made; null when it may. */
function missingError(
  prefix: string,
  { wasStored, sizeBytes }: { wasStored: boolean; sizeBytes: number },
): SpriteError | null {
  if (wasStored) {
    // A bucket that has lost a volume which was there is not the same as a new volume.
    return lostError(prefix);
  }
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % unitSizeBytes === 0) {
    return null;
  }
  return new SpriteError("invalid_request", "a volume's size is a multiple of 64 KiB");
}

export function lostError(prefix: string): SpriteError {
  const message = `the bucket has no ${headKey(prefix)}, but this machine has stored the volume there before: is it the right bucket?`;
  return new SpriteError("storage_failure", message);
}

/** The local state, or why it cannot be believed. */
async function openLocal(
  options: OpenStateOptions,
  found: {
    lease: VolumeLease;
    record: LocalRecord;
    /** The map's file is what it was when it was closed, as far as anybody knows. */
    isMapSound: boolean;
  },
): Promise<OpenedState | string> {
  const { lease, record, isMapSound } = found;
  const previous = must(lease.previous, "the volume was there");
  const { state } = record;
  if (previous.formatVersion !== 2 || !isOurs(state, previous)) {
    return "the bucket was written by another since";
  }
  if (!existsSync(join(options.cacheDirectory, mapName))) {
    // The guest may have written before the map was here. There was no cut yet, so the bucket's is still the map of it.
    if (!state.isHydrating) return "the map is missing";
    const cold = await openBucketState(options, lease, { distrust: null, record, early: null });
    return cold === null ? "the bucket has no map" : await hydrate(options, cold);
  }
  if (!isMapSound) return "the local map is not what it was";
  const wasClean = state.isClean && state.head?.value.writer === previous.writer;
  const { mapCheck, txid, wal, syncedCut } = state;
  const { generation } = lease.head.value;
  // From here on the file changes.
  await record.save({ head: lease.head, generation, isClean: false, mapCheck: null });
  const map = openMapFile(options);
  if (!(map instanceof BlockMap)) return `the local map cannot be opened: ${map.message}`;
  try {
    const chain = await chainOf(options, lease, wasClean ? txid : null);
    refuseOlder(options, chain, txid);
    const isAhead = chain.position !== null && chain.position.txid > txid;
    if (isAhead && !(await continues(options, { record, lastCut: map.lastCut }, chain))) {
      map.close();
      return "it is older than what the bucket has of it";
    }
    const capture = openCapture(map, wal);
    const isNew = chain.position === null;
    const mapped =
      mapCheck === null ? null : MappedUnits.read(options.cacheDirectory, map, mapCheck);
    const parts = { map, lease, chain, capture, record };
    const news = { isNew, distrust: null, wasClean, isAhead: !wasClean, syncedCut, mapped };
    return { kind: "open", ...parts, ...news };
  } catch (error) {
    map.close();
    throw error;
  }
}

/** A bucket that has been set back, or whose listing is late: what was stored there must not be stored again. */
export function refuseOlder({ prefix }: { prefix: string }, chain: Chain, txid: number): void {
  const found = chain.position?.txid ?? 0;
  if (found >= txid) return;
  const message = `the bucket has ${prefix} up to transaction ${found}, but ${txid} was stored before: is it the right bucket?`;
  throw new SpriteError("storage_failure", message);
}

export function openMapFile(options: OpenStateOptions): BlockMap | Error {
  try {
    return BlockMap.open(join(options.cacheDirectory, mapName), {
      now: options.clock.nowMs,
      isReplicated: true,
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/**
 * Whether the local map has what the bucket has and perhaps more. A process that dies between a store and its
 * note leaves a chain that is ahead of the note; a machine that was set back in time leaves the same, and then
 * believing the local map would silently undo what the bucket has. So does one that has made a volume anew while
 * its former holder made the first transactions: both maps may have seen no cut, so the writer tells.
 */
export async function continues(
  options: OpenStateOptions,
  { record, lastCut }: { record: LocalRecord; lastCut: number },
  chain: Chain,
): Promise<boolean> {
  const position = must(chain.position, "there are transactions");
  const { txid, writers } = record.state;
  // Of a state of which something is in the bucket the head tells already that nobody else has written since, and
  // of its ids only the last few are known: each opening that fails has used one.
  const writer = txid === 0 ? await writerOf(options, position.txid) : null;
  if (writer !== null && !writers.includes(writer)) return false;
  if (lastCut < (await storedLastCut(options, chain))) return false;
  await record.save({ txid: position.txid });
  return true;
}

/** The newest cut that the bucket has. */
async function storedLastCut(options: OpenStateOptions, chain: Chain): Promise<number> {
  const path = join(options.cacheDirectory, "compared.db");
  await restoreMap(options, chain, path);
  const stored = BlockMap.open(path, { now: options.clock.nowMs, isReplicated: true });
  const { lastCut } = stored;
  stored.close();
  rmSync(path, { force: true });
  return lastCut;
}

async function createNew(options: OpenStateOptions, lease: VolumeLease): Promise<OpenedState> {
  const { cacheDirectory, clock } = options;
  // What lies here is of a volume that never reached the bucket.
  for (const name of localNames(cacheDirectory)) {
    rmSync(join(cacheDirectory, name), { recursive: true, force: true });
  }
  const map = BlockMap.create(join(cacheDirectory, mapName), {
    sizeBytes: lease.head.value.sizeBytes,
    now: clock.nowMs,
    isReplicated: true,
  });
  const record = await newRecord(options, lease, null);
  return { ...(await beginChain(options, { lease, map, record })), wasClean: true };
}

/** A volume of format 1, or one that was never finished. */
async function openWithoutChain(
  options: OpenStateOptions,
  lease: VolumeLease,
  distrust: string | null,
): Promise<OpenedState> {
  const { legacyMap } = lease.head.value;
  if (legacyMap === null) return { ...(await createNew(options, lease)), distrust };
  const path = join(options.cacheDirectory, mapName);
  await restoreLegacyMap(options, legacyMap, path);
  const map = BlockMap.open(path, { now: options.clock.nowMs, isReplicated: true });
  const record = await newRecord(options, lease, null);
  return { ...(await beginChain(options, { lease, map, record })), distrust };
}

/** A map of which the chain has nothing yet. */
async function beginChain(
  options: OpenStateOptions,
  parts: { lease: VolumeLease; map: BlockMap; record: LocalRecord },
): Promise<OpenedState> {
  const { writer } = parts.lease.head.value;
  const chain = openChain(options, { writer, files: [] });
  const capture = openCapture(parts.map, null);
  const news = { isNew: true, distrust: null, wasClean: false, isAhead: false };
  return { kind: "open", ...parts, chain, capture, ...news, syncedCut: -1, mapped: null };
}
