/** A volume's map in the bucket: the chain of its transactions, read whole and written by one at a time. */
import { createHash } from "node:crypto";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import type { LeaseClock } from "../lease/clock.ts";
import type { Head, HeadFile } from "../lease/head.ts";
import type { LegacyMap } from "../lease/legacy-head.ts";
import { listChain } from "../litestream/chain-files.ts";
import { ChainWriter } from "../litestream/chain-writer.ts";
import type { Chain, ChainFile, WalPosition } from "../litestream/database-replica.ts";
import { WalCapture } from "../litestream/wal-capture.ts";
import { headerSizeBytes } from "../ltx/format.ts";
import { readHeader } from "../ltx/header.ts";
import { ltxKey } from "../ltx/names.ts";
import { planRestore } from "../ltx/restore-plan.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { Hydration } from "../remote-database/hydration.ts";
import { PageSource } from "../remote-database/page-source.ts";
import { headFilesMax } from "./limits.ts";

export interface ChainPlace {
  store: ObjectStore;
  prefix: string;
  clock: Pick<LeaseClock, "nowMs">;
}

export function chainPrefix(prefix: string): string {
  return `${prefix}/meta`;
}

/** All files of the chain. */
export async function listChainOf({ store, prefix }: ChainPlace): Promise<ChainFile[]> {
  return await listChain(store, chainPrefix(prefix));
}

/** The chain of these files, to be continued by this writer. */
export function openChain(
  { store, prefix, clock }: ChainPlace,
  options: { writer: string; files: readonly ChainFile[] },
): Chain {
  const { files } = options;
  const writer = BigInt(`0x${options.writer}`);
  const txid = Math.max(0, ...files.map(({ maxTxid }) => maxTxid));
  // Who made the newest transaction does not matter: it is in the bucket, and ours comes next.
  const position = txid === 0 ? null : { txid, writer };
  const { nowMs } = clock;
  return new ChainWriter({ store, prefix: chainPrefix(prefix), writer, position, files, nowMs });
}

/** A head's files, as a chain has them. */
export function filesOf(head: Head): ChainFile[] {
  return head.files.map(([level, minTxid, maxTxid, sizeBytes, createdAtMs]) => ({
    ...{ level, minTxid, maxTxid },
    ...{ sizeBytes, createdAtMs },
  }));
}

/** The chain's files for a head. Of a chain with very many, none: then whoever opens it lists them. */
export function hintOf(chain: Chain): HeadFile[] {
  const files = chain.files();
  if (files.length > headFilesMax) return [];
  return files.map(({ level, minTxid, maxTxid, sizeBytes, createdAtMs }) => [
    ...([level, minTxid, maxTxid] as const),
    ...([sizeBytes, Math.max(0, Math.round(createdAtMs))] as const),
  ]);
}

/** Node id of the file that has this transaction for itself, 16 hex digits; null when there is none. */
export async function writerOf(
  { store, prefix }: ChainPlace,
  txid: number,
): Promise<string | null> {
  const key = ltxKey(chainPrefix(prefix), { level: 0, minTxid: txid, maxTxid: txid });
  const bytes = await store.getRange(key, 0, headerSizeBytes);
  if (bytes === null) return null;
  return readHeader(bytes).nodeId.toString(16).padStart(16, "0");
}

/** The newest state of the chain, page by page. @throws SpriteError storage_failure */
export async function openSource(
  { store, prefix }: Omit<ChainPlace, "clock">,
  files: readonly ChainFile[],
): Promise<PageSource> {
  const plan = planRestore(files);
  if (plan.kind !== "plan") {
    throw new SpriteError("storage_failure", `the chain of ${prefix} has a gap`);
  }
  const planned = plan.files.map((file) => ({ ...file, key: ltxKey(chainPrefix(prefix), file) }));
  return await PageSource.open({ store, files: planned });
}

/** Writes the newest state of the chain to `path`, whole or not at all. @throws SpriteError storage_failure */
export async function restoreMap(
  { store, prefix }: ChainPlace,
  chain: Chain,
  path: string,
): Promise<void> {
  const source = await openSource({ store, prefix }, chain.files());
  const hydration = new Hydration({ source, path });
  await hydration.run();
  await hydration.close();
}

/** What format 1 stored. @throws SpriteError storage_failure */
export async function restoreLegacyMap(
  { store, prefix }: ChainPlace,
  { key, sha256 }: LegacyMap,
  path: string,
): Promise<void> {
  const copy = await store.get(`${prefix}/${key}`);
  if (copy === null) throw new SpriteError("storage_failure", `the map's copy ${key} is missing`);
  if (createHash("sha256").update(copy).digest("hex") !== sha256) {
    throw new SpriteError("storage_failure", `the map's copy ${key} is damaged`);
  }
  await BlockMap.restoreFile(path, copy);
}

export function openCapture(map: BlockMap, position: WalPosition | null): WalCapture {
  return WalCapture.open({ path: map.path, connection: map.connection, position });
}

/** Of a map that was just restored, so all of it is in the bucket; nobody has opened it, and it has no log. */
export function restoredPosition(path: string, txid: number): WalPosition {
  const connection = { walSizeFrames: () => 0, truncateWal: () => true };
  const capture = WalCapture.open({ path, connection, position: null });
  try {
    capture.advance(must(capture.capture(), "a restored map has pages"), txid);
    return must(capture.position(), "a map that was captured has a position");
  } finally {
    capture.close();
  }
}
