/**
 * A volume's state as the bucket has it: found and fenced at once, so that it can be read in place; fetched
 * whole by `hydrate`.
 */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { isFenced } from "../lease/fenced-error.ts";
import type { Head } from "../lease/head.ts";
import type { VolumeLease } from "../lease/volume-lease.ts";
import type { Chain, ChainFile, Position } from "../litestream/database-replica.ts";
import { Hydration } from "../remote-database/hydration.ts";
import type { PageSource } from "../remote-database/page-source.ts";
import type { PageReader } from "../remote-database/pages.ts";
import { EarlyBoot, type KnownPlaces } from "./early-boot.ts";
import { fenceTriesMax } from "./limits.ts";
import { LocalRecord } from "./local-state.ts";
import {
  filesOf,
  listChainOf,
  openCapture,
  openChain,
  openSource,
  restoredPosition,
  type ChainPlace,
} from "./map-chain.ts";
import { mapName, stagingName, type OpenedState, type OpenStateOptions } from "./volume-state.ts";

/** The map is in the bucket; it can be read page by page. */
export interface ColdState {
  kind: "cold";
  lease: VolumeLease;
  chain: Chain;
  record: LocalRecord;
  source: PageSource;
  /** Reads what is here from here, and the rest from the bucket. */
  pages: PageReader & { hydration: Hydration };
  /** Why local state was set aside; null when none was. */
  distrust: string | null;
  /** Nothing of a crash is left in the bucket, as far as this opening can know. */
  wasClean: boolean;
  /** What was asked for before it was known that all of this is so; null: nothing. */
  early: { boot: EarlyBoot; places: KnownPlaces | null } | null;
}

/**
 * Null when the chain is empty. From a holder that had not let go, it goes on until the next transaction is ours.
 * @throws SpriteError conflict, storage_failure
 */
export async function openBucketState(
  options: OpenStateOptions,
  lease: VolumeLease,
  found: { distrust: string | null; record: LocalRecord | null; early: EarlySource | null },
): Promise<ColdState | null> {
  const previous = must(lease.previous, "the volume was there");
  const wasClean = previous.formatVersion === 2 && previous.holder === null;
  for (let tries = 1; ; tries++) {
    const chain = await chainOf(options, lease, wasClean ? lease.head.value.txid : null);
    if (chain.position === null) return null;
    try {
      const begun = found.early?.take(lease) ?? null;
      const source = await (begun?.source ?? openSource(options, chain.files()));
      if (!wasClean) await fence(chain, source);
      // Only a hint: nobody waits for it.
      const early = found.early && { boot: found.early.boot, places: begun?.places ?? null };
      rmSync(join(options.cacheDirectory, stagingName), { recursive: true, force: true });
      const record = await hydratingRecord(options, { lease, chain, record: found.record });
      const pages = pagesOf(source, join(options.cacheDirectory, mapName));
      const { distrust } = found;
      return { kind: "cold", lease, chain, record, source, pages, distrust, wasClean, early };
    } catch (error) {
      // The former holder was faster once more, or has merged files that were listed: what it stored belongs
      // to the volume.
      if (wasClean || tries >= fenceTriesMax) throw error;
      if (!isFenced(error) && !(error instanceof SpriteError)) throw error;
    }
  }
}

async function hydratingRecord(
  options: OpenStateOptions,
  found: { lease: VolumeLease; chain: Chain; record: LocalRecord | null },
): Promise<LocalRecord> {
  const { lease, chain, record } = found;
  if (record === null)
    return await newRecord(options, lease, chain.position, { isHydrating: true });
  const { generation } = lease.head.value;
  await record.save({ head: lease.head, generation, isClean: false, isHydrating: true });
  return record;
}

/** The map of a head that nobody holds, and what its boot reads, asked for while the head is being taken. */
export class EarlySource {
  readonly boot: EarlyBoot;
  readonly #options: Omit<ChainPlace, "clock">;
  #begun: {
    head: Head;
    source: Promise<PageSource>;
    /** Null also while they are not known. */
    places: KnownPlaces | null;
  } | null = null;

  constructor(options: Omit<ChainPlace, "clock">) {
    this.#options = options;
    this.boot = new EarlyBoot(options);
  }

  begin(head: Head): void {
    if (head.files.length === 0) return;
    const source = openSource(this.#options, filesOf(head));
    // Whoever takes it hears of a failure; perhaps nobody does.
    source.catch(() => undefined);
    const begun = { head, source, places: null as KnownPlaces | null };
    const note = (places: KnownPlaces | null): void => void (begun.places = places);
    void this.boot.placesFor(head).then(note, () => undefined);
    this.#begun = begun;
  }

  /** Null unless it is what the lease was taken from. */
  take(
    lease: VolumeLease,
  ): { readonly source: Promise<PageSource>; readonly places: KnownPlaces | null } | null {
    return this.#begun?.head === lease.previous ? this.#begun : null;
  }
}

/**
 * With a known TXID the head's files are the chain's; else a crash may have left more, and the chain is listed. More may
 * also be there of one who has taken the volume since this holder did, however long the list took to come: to go on
 * behind that would undo its fence.
 * @throws FencedError, SpriteError storage_failure
 */
export async function chainOf(
  options: ChainPlace,
  lease: VolumeLease,
  txid: number | null,
): Promise<Chain> {
  const { previous, head } = lease;
  const hint = previous?.formatVersion === 2 && previous.files.length > 0 ? previous : null;
  const isHintExact = hint !== null && txid !== null && hint.txid === txid && hint.holder === null;
  const files: ChainFile[] = isHintExact ? filesOf(hint) : await listChainOf(options);
  const chain = openChain(options, { writer: head.value.writer, files });
  if ((chain.position?.txid ?? 0) > head.value.txid) await lease.confirm();
  return chain;
}

/**
 * Creates the next transaction, so that the former holder cannot: it writes the first page again, as it is.
 * @throws FencedError: the former holder was faster
 */
async function fence(chain: Chain, source: PageSource): Promise<void> {
  const bytes = await source.readPage(1);
  await chain.ship({
    pageSizeBytes: source.pageSizeBytes,
    commitPages: source.pageCount,
    isImage: false,
    pageCount: 1,
    pages: () => [{ pgno: 1, bytes }],
  });
}

function pagesOf(source: PageSource, path: string): ColdState["pages"] {
  return {
    hydration: new Hydration({ source, path }),
    pageSizeBytes: source.pageSizeBytes,
    pageCount: source.pageCount,
    readPage(pgno) {
      return this.hydration.readPage(pgno);
    },
  };
}

/** Fetches the whole map. May be called again after a failure. @throws SpriteError storage_failure, disk_full */
export async function hydrate(options: OpenStateOptions, cold: ColdState): Promise<OpenedState> {
  const { cacheDirectory, clock } = options;
  const { lease, chain, record, source, pages, distrust, wasClean } = cold;
  const path = join(cacheDirectory, mapName);
  try {
    await pages.hydration.run();
  } catch (error) {
    pages.hydration = new Hydration({ source, path });
    throw error;
  }
  await pages.hydration.close();
  const { txid } = must(chain.position, "the chain has transactions");
  const wal = restoredPosition(path, txid);
  const map = BlockMap.open(path, { now: clock.nowMs, isReplicated: true });
  const { lastCut: syncedCut } = map;
  await record.save({ txid, syncedCut, wal, isHydrating: false });
  const capture = openCapture(map, wal);
  const parts = { map, lease, chain, capture, record };
  const news = { isNew: false, distrust, wasClean, isAhead: false, syncedCut, mapped: null };
  return { kind: "open", ...parts, ...news };
}

export async function newRecord(
  options: OpenStateOptions,
  lease: VolumeLease,
  position: Position | null,
  { cacheId = randomBytes(16).toString("hex"), isHydrating = false } = {},
): Promise<LocalRecord> {
  const { cacheDirectory, prefix } = options;
  const record = new LocalRecord(cacheDirectory, {
    formatVersion: 1,
    prefix,
    cacheId,
    writers: [lease.head.value.writer],
    generation: lease.head.value.generation,
    head: lease.head,
    txid: position?.txid ?? 0,
    syncedCut: -1,
    wal: null,
    isClean: false,
    isHydrating,
    mapCheck: null,
  });
  await record.save({});
  return record;
}
