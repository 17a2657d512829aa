/**
 * Which state a volume opens with. The lease comes first; then the local state if it is what the bucket was
 * written from, else the bucket's. A former holder that never let go is fenced before this returns.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import type { LeaseClock } from "../lease/clock.ts";
import { isFenced } from "../lease/fenced-error.ts";
import { headKey } from "../lease/head.ts";
import { VolumeLease } from "../lease/volume-lease.ts";
import type { WalCapture } from "../litestream/wal-capture.ts";
import type { Chain, ChainFile, Position } from "../litestream/database-replica.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { fenceTriesMax } from "./limits.ts";
import { LocalRecord } from "./local-state.ts";
import {
  filesOf,
  listChainOf,
  openCapture,
  openChain,
  restoredPosition,
  restoreLegacyMap,
  restoreMap,
} from "./map-chain.ts";
import { legacyCacheId } from "./legacy-state.ts";
import { localNames, setAsideAll } from "./orphan.ts";

/** Attributes that the volume keeps in the map for itself. */
export const ownAttributePrefix = "volume.";
/** The lease's generation under which somebody took over from a holder that had not let go. */
const fenceAttribute = `${ownAttributePrefix}fence`;

export interface OpenStateOptions {
  store: ObjectStore;
  prefix: string;
  cacheDirectory: string;
  /** For a new volume. */
  sizeBytes: number;
  server: string;
  clock: LeaseClock;
}

export interface OpenedState {
  map: BlockMap;
  lease: VolumeLease;
  chain: Chain;
  capture: WalCapture;
  record: LocalRecord;
  /** The first transaction is yet to be shipped: the volume exists once it is. */
  isNew: boolean;
  /** Why local state was set aside; null when none was. */
  distrust: string | null;
  /** Nothing of a crash is left in the bucket, as far as this opening can know. */
  wasClean: boolean;
  /** Local state may have what the bucket has not. */
  isAhead: boolean;
  /** The newest cut that is known to be in the bucket; -1 for a new volume. */
  syncedCut: number;
}

export const mapName = "map.db";
export const stagingName = "staging";
/** Where snapshots are put together. */
export const scratchName = "scratch";

/** @throws SpriteError conflict (a live server holds it), storage_failure, invalid_request (size) */
export async function openState(options: OpenStateOptions): Promise<OpenedState> {
  const { prefix, cacheDirectory } = options;
  mkdirSync(cacheDirectory, { recursive: true, mode: 0o700 });
  const record = existsSync(join(cacheDirectory, mapName))
    ? LocalRecord.read(cacheDirectory, prefix)
    : null;
  const writer = randomBytes(8).toString("hex");
  const known = record?.state.writers ?? [];
  // Before the head can name this writer: a crash in between leaves a head that is known to be ours.
  await record?.save({ writers: [...known, writer] });
  const lease = await acquire(options, record, writer);
  const { previous } = lease;
  if (previous !== null && previous.formatVersion === 2 && record !== null) {
    const opened = await openLocal(options, { lease, record, known });
    if (typeof opened !== "string") return opened;
    await setAsideAll(options, { reason: opened, state: record.state });
    return await openFromBucket(options, lease, opened);
  }
  return await openWithoutRecord(options, lease);
}

async function openWithoutRecord(
  options: OpenStateOptions,
  lease: VolumeLease,
): Promise<OpenedState> {
  const { cacheDirectory } = options;
  const { previous } = lease;
  if (previous === null) return await createNew(options, lease);
  let distrust: string | null = null;
  if (existsSync(join(cacheDirectory, mapName))) {
    const map = openMapFile(options);
    if (map instanceof BlockMap) {
      const cacheId = legacyCacheId(map, previous);
      if (cacheId !== null) return await adoptLegacy(options, { lease, map, cacheId });
      map.close();
    }
    distrust = "there is no record of what it was stored from";
    await setAsideAll(options, { reason: distrust, state: null });
  }
  return await openFromBucket(options, lease, distrust);
}

/** Local state of format 1 that the bucket's head of format 1 was written from goes on as it is. */
async function adoptLegacy(
  options: OpenStateOptions,
  found: { lease: VolumeLease; map: BlockMap; cacheId: string },
): Promise<OpenedState> {
  const { lease, map, cacheId } = found;
  const chain = openChain(options, { writer: lease.head.value.writer, files: [] });
  const record = await newRecord(options, lease, { position: null, cacheId });
  const capture = openCapture(map, null);
  const parts = { map, lease, chain, capture, record };
  const news = { isNew: true, distrust: null, wasClean: false, isAhead: true, syncedCut: -1 };
  return { ...parts, ...news };
}

async function acquire(
  options: OpenStateOptions,
  record: LocalRecord | null,
  writer: string,
): Promise<VolumeLease> {
  const { store, prefix, server, clock, sizeBytes } = options;
  const saved = record?.state.head ?? null;
  return await VolumeLease.acquire({
    ...{ store, prefix, server, clock, writer, saved },
    newSizeBytes: sizeBytes,
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
    const message = `the bucket has no ${headKey(prefix)}, but this machine has stored the volume there before: is it the right bucket?`;
    return new SpriteError("storage_failure", message);
  }
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % unitSizeBytes === 0) {
    return null;
  }
  return new SpriteError("invalid_request", "a volume's size is a multiple of 64 KiB");
}

/** The local state, or why it cannot be believed. */
async function openLocal(
  options: OpenStateOptions,
  found: { lease: VolumeLease; record: LocalRecord; known: readonly string[] },
): Promise<OpenedState | string> {
  const { lease, record, known } = found;
  const previous = must(lease.previous, "the volume was there");
  if (previous.formatVersion !== 2 || !known.includes(previous.writer)) {
    return "the bucket was written by another since";
  }
  const { state } = record;
  const wasClean = state.isClean && state.head?.value.writer === previous.writer;
  const map = openMapFile(options);
  if (!(map instanceof BlockMap)) return `the local map cannot be opened: ${map.message}`;
  try {
    const chain = await chainOf(options, lease, wasClean ? state.txid : null);
    const isAhead = chain.position !== null && chain.position.txid > state.txid;
    if (isAhead && !(await continues(options, map, chain))) {
      map.close();
      return "it is older than what the bucket has of it";
    }
    await record.save({ head: lease.head, isClean: false });
    const capture = openCapture(map, state.wal);
    const isNew = chain.position === null;
    const { syncedCut } = state;
    const parts = { map, lease, chain, capture, record };
    return { ...parts, isNew, distrust: null, wasClean, isAhead: !wasClean, syncedCut };
  } catch (error) {
    map.close();
    throw error;
  }
}

function openMapFile(options: OpenStateOptions): BlockMap | Error {
  try {
    return BlockMap.open(join(options.cacheDirectory, mapName), {
      now: options.clock.nowMs,
      isReplicated: true,
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** With a known TXID the head's files are the chain's; else a crash may have left more, and the chain is listed. */
async function chainOf(
  options: OpenStateOptions,
  lease: VolumeLease,
  txid: number | null,
): Promise<Chain> {
  const { previous, head } = lease;
  const hint = previous?.formatVersion === 2 && previous.files.length > 0 ? previous : null;
  const isHintExact = hint !== null && txid !== null && hint.txid === txid && hint.holder === null;
  const files: ChainFile[] = isHintExact ? filesOf(hint) : await listChainOf(options);
  return openChain(options, { writer: head.value.writer, files });
}

/**
 * Whether the local map has what the bucket has and perhaps more. A process that dies between a store and its
 * note leaves a chain that is ahead of the note; a machine that was set back in time leaves the same, and then
 * believing the local map would silently undo what the bucket has.
 */
async function continues(options: OpenStateOptions, map: BlockMap, chain: Chain): Promise<boolean> {
  const path = join(options.cacheDirectory, "compared.db");
  await restoreMap(options, chain, path);
  const stored = BlockMap.open(path, { now: options.clock.nowMs, isReplicated: true });
  const { lastCut } = stored;
  stored.close();
  rmSync(path, { force: true });
  return map.lastCut >= lastCut;
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
  const { writer } = lease.head.value;
  const chain = openChain(options, { writer, files: [] });
  const record = await newRecord(options, lease, { position: chain.position });
  const capture = openCapture(map, null);
  const parts = { map, lease, chain, capture, record };
  const news = { isNew: true, distrust: null, wasClean: true, isAhead: false, syncedCut: -1 };
  return { ...parts, ...news };
}

/** Fetches the map. From a holder that had not let go, it goes on until the next transaction is ours. */
async function openFromBucket(
  options: OpenStateOptions,
  lease: VolumeLease,
  distrust: string | null,
): Promise<OpenedState> {
  const previous = must(lease.previous, "the volume was there");
  const wasReleased = previous.formatVersion === 2 && previous.holder === null;
  for (let tries = 0; tries < fenceTriesMax; tries++) {
    const opened = await fetchState(options, lease, wasReleased && tries === 0);
    opened.distrust = distrust;
    if (opened.isNew || wasReleased) return opened;
    try {
      await fence(opened);
      return opened;
    } catch (error) {
      opened.map.close();
      opened.capture.close();
      // The former holder was faster once more; what it stored belongs to the volume.
      if (!isFenced(error)) throw error;
    }
  }
  throw new SpriteError("conflict", `${options.prefix} is still being written by another`);
}

async function fetchState(
  options: OpenStateOptions,
  lease: VolumeLease,
  isHintExact: boolean,
): Promise<OpenedState> {
  const { cacheDirectory, clock } = options;
  const { value } = lease.head;
  const txid = isHintExact ? value.txid : null;
  const chain = await chainOf(options, lease, txid);
  const path = join(cacheDirectory, mapName);
  rmSync(join(cacheDirectory, stagingName), { recursive: true, force: true });
  if (chain.position !== null) {
    await restoreMap(options, chain, path);
  } else if (value.legacyMap !== null) {
    await restoreLegacyMap(options, value.legacyMap, path);
  } else {
    return await createNew(options, lease);
  }
  const record = await newRecord(options, lease, { position: chain.position });
  const wal = chain.position === null ? null : restoredPosition(path, chain.position.txid);
  const map = BlockMap.open(path, { now: clock.nowMs, isReplicated: true });
  const capture = openCapture(map, wal);
  const isNew = chain.position === null;
  const parts = { map, lease, chain, capture, record };
  const syncedCut = isNew ? -1 : map.lastCut;
  const news = { isNew, distrust: null, wasClean: isHintExact, isAhead: false, syncedCut };
  return { ...parts, ...news };
}

/** Creates the next transaction, so that the former holder cannot. @throws FencedError: it was faster */
async function fence(opened: OpenedState): Promise<void> {
  const { map, lease, chain, capture } = opened;
  map.setAttribute(fenceAttribute, String(lease.head.value.generation));
  const change = must(capture.capture(), "the fence is a change");
  const { txid } = await chain.ship(change);
  capture.advance(change, txid);
}

async function newRecord(
  options: OpenStateOptions,
  lease: VolumeLease,
  { position, cacheId }: { position: Position | null; cacheId?: string },
): Promise<LocalRecord> {
  const { cacheDirectory, prefix } = options;
  const record = new LocalRecord(cacheDirectory, {
    formatVersion: 1,
    prefix,
    cacheId: cacheId ?? randomBytes(16).toString("hex"),
    writers: [lease.head.value.writer],
    head: lease.head,
    txid: position?.txid ?? 0,
    syncedCut: -1,
    wal: null,
    isClean: false,
  });
  await record.save({});
  return record;
}
