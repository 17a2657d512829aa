import { must } from "../../base/assert.ts";
import { decodeFrame } from "../ltx/decode.ts";
import { lockPageNumber } from "../ltx/format.ts";
import type { PagePlace } from "../ltx/page-index.ts";
import { openingFilesCountMax, pageCacheSizeBytesMax, readAheadSizeBytes } from "./limits.ts";
import { LtxObject, type PlannedFile, type ReadableStore } from "./ltx-object.ts";
import { damagedDatabase, type PageReader } from "./pages.ts";

export interface PageSourceOptions {
  store: ReadableStore;
  /** What a restore plan chose, oldest first; the first one is a snapshot. */
  files: readonly PlannedFile[];
  signal?: AbortSignal | undefined;
  /** How much is fetched with a page at most; 0 fetches the page alone. */
  readAheadSizeBytes?: number | undefined;
}

const noFile = -1;

/**
 * A database's pages straight from LTX objects: the newest version of each, by one range request, together with the
 * frames behind it. Requests for a page that is on its way wait for it.
 *
 * A page's frame must be that page's and inflate to exactly one page. The checksum of a large file covers all of it, so
 * it is only verified by hydration.
 */
export class PageSource implements PageReader {
  readonly pageSizeBytes: number;
  readonly pageCount: number;
  /** The database is as it was after this transaction. */
  readonly txid: number;
  readonly files: readonly LtxObject[];
  /** Position in `files` by page number. */
  readonly #newest: Int32Array;
  readonly #readAheadSizeBytes: number;
  readonly #signal: AbortSignal | undefined;
  readonly #fetches = new Map<number, Promise<Map<number, Uint8Array>>>();
  readonly #cache = new Map<number, Uint8Array>();
  #waitingCount = 0;

  private constructor(files: readonly LtxObject[], newest: Int32Array, options: PageSourceOptions) {
    const { header } = must(files.at(-1), "a plan has files");
    this.files = files;
    this.pageSizeBytes = header.pageSizeBytes;
    this.pageCount = header.commitPages;
    this.txid = header.maxTxid;
    this.#newest = newest;
    this.#readAheadSizeBytes = options.readAheadSizeBytes ?? readAheadSizeBytes;
    this.#signal = options.signal;
  }

  /**
   * Fetches what is needed to find every page: all files at once, a round trip.
   * @throws SpriteError storage_failure when a file is missing or damaged, or the files do not make a database
   */
  static async open(options: PageSourceOptions): Promise<PageSource> {
    const { store, files: plans, signal } = options;
    const files: LtxObject[] = [];
    let next = 0;
    const openSome = async (): Promise<void> => {
      for (let at = next++; at < plans.length; at = next++) {
        const plan = must(plans[at], "the plan has this file");
        files[at] = await LtxObject.open(store, plan, signal);
      }
    };
    const openingCount = Math.min(plans.length, openingFilesCountMax);
    await Promise.all(Array.from({ length: openingCount }, openSome));
    verifyChain(files);
    return new PageSource(files, newestVersions(files), options);
  }

  /** How many pages somebody waits for. */
  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** How many pages there are to fetch: all but the lock page, which is never stored. */
  get storedCount(): number {
    return this.pageCount < lockPageNumber(this.pageSizeBytes)
      ? this.pageCount
      : this.pageCount - 1;
  }

  /** Which of `files` has the page as it is now. */
  newestFileOf(pgno: number): number {
    return this.#newest[pgno] ?? noFile;
  }

  async readPage(pgno: number): Promise<Uint8Array> {
    const cached = this.#cache.get(pgno);
    if (cached !== undefined) {
      // The map is in the order of use: what is read moves to its end.
      this.#cache.delete(pgno);
      this.#cache.set(pgno, cached);
      return cached;
    }
    this.#waitingCount++;
    try {
      const pages = await (this.#fetches.get(pgno) ?? this.#fetch(pgno));
      return must(pages.get(pgno), "the page was fetched");
    } finally {
      this.#waitingCount--;
    }
  }

  #fetch(pgno: number): Promise<Map<number, Uint8Array>> {
    const position = this.newestFileOf(pgno);
    const file = this.files[position];
    if (file === undefined) throw damagedDatabase(`there is no page ${pgno}`);
    const places = this.#placesFrom(position, pgno);
    const fetch = this.#readPlaces(file, places).finally(() => {
      for (const place of places) this.#fetches.delete(place.pgno);
    });
    for (const place of places) this.#fetches.set(place.pgno, fetch);
    return fetch;
  }

  /** The page's place in its file, and those behind it that are of use and not known. */
  #placesFrom(position: number, pgno: number): PagePlace[] {
    const file = must(this.files[position], "the file is one of the plan");
    const { index } = file;
    const first = must(index.find(pgno), "the file has the page");
    const places = [first];
    if (file.isHeld(first)) return places;
    for (let at = index.positionOf(pgno) + 1; at < index.count; at++) {
      const place = index.at(at);
      const end = place.offsetBytes + place.lengthBytes;
      if (end - first.offsetBytes > this.#readAheadSizeBytes) break;
      const isKnown = this.#cache.has(place.pgno) || this.#fetches.has(place.pgno);
      if (this.newestFileOf(place.pgno) === position && !isKnown) places.push(place);
    }
    return places;
  }

  async #readPlaces(file: LtxObject, places: PagePlace[]): Promise<Map<number, Uint8Array>> {
    const start = must(places[0], "a page is read").offsetBytes;
    const last = must(places.at(-1), "a page is read");
    const length = last.offsetBytes + last.lengthBytes - start;
    const bytes = await file.read(start, length, this.#signal);
    const { pageSizeBytes } = this;
    const pages = new Map<number, Uint8Array>();
    for (const { pgno, offsetBytes, lengthBytes } of places) {
      const frame = bytes.subarray(offsetBytes - start, offsetBytes - start + lengthBytes);
      const page = decodeFrame(frame, { pgno, pageSizeBytes });
      pages.set(pgno, page);
      this.#cache.set(pgno, page);
    }
    const cachedCountMax = Math.max(1, Math.floor(pageCacheSizeBytesMax / pageSizeBytes));
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= cachedCountMax) break;
      this.#cache.delete(oldest);
    }
    return pages;
  }
}

function verifyChain(files: readonly LtxObject[]): void {
  if (files[0]?.header.minTxid !== 1) throw damagedDatabase("there is no snapshot");
  for (const [at, { header, plan }] of files.entries()) {
    const previous = files[at - 1]?.header;
    if (previous === undefined) continue;
    const isContiguous =
      header.minTxid <= previous.maxTxid + 1 && header.maxTxid > previous.maxTxid;
    if (!isContiguous || header.pageSizeBytes !== previous.pageSizeBytes) {
      throw damagedDatabase(`${plan.key} does not follow transaction ${previous.maxTxid}`);
    }
  }
}

/** For each page of the database the last file that has it; pages beyond the last commit are gone. */
function newestVersions(files: readonly LtxObject[]): Int32Array {
  const { header } = must(files.at(-1), "a plan has files");
  const newest = new Int32Array(header.commitPages + 1).fill(noFile);
  for (const [at, { index }] of files.entries()) {
    for (let position = 0; position < index.count; position++) {
      const { pgno } = index.at(position);
      if (pgno > header.commitPages) break;
      newest[pgno] = at;
    }
  }
  for (let pgno = 1; pgno <= header.commitPages; pgno++) {
    const isMissing = newest[pgno] === noFile && pgno !== lockPageNumber(header.pageSizeBytes);
    if (isMissing) throw damagedDatabase(`no file has page ${pgno}`);
  }
  return newest;
}
