import { readSync } from "node:fs";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { sidecarPaths } from "../database.ts";
import { syncDirectory } from "../local-files.ts";
import { LtxDecoder } from "../ltx/decode.ts";
import { storeError } from "../object-store/store-error.ts";
import { fetchInOrder } from "./fetch-in-order.ts";
import {
  hydrationPartSizeBytes,
  hydrationRequestsCountBusy,
  hydrationRequestsCountMax,
  hydrationTurnSizeBytes,
} from "./limits.ts";
import { PageRunWriter } from "./page-run-writer.ts";
import type { PageSource } from "./page-source.ts";
import { damagedDatabase, type PageReader } from "./pages.ts";

/**
 * Copies a database from the store into an ordinary SQLite file, while its pages can be read.
 *
 * Until everything is there and every file's checksum was right, the file has another name (`<path>.hydrating`), so that
 * one that a crash left is never believed, only overwritten. The pages are as they were replicated: a database in WAL
 * mode is one afterwards (bytes 18 and 19 of its header), and has no log yet.
 */
export class Hydration implements PageReader {
  readonly #source: PageSource;
  readonly #path: string;
  /** A bit for each page that is in the file. */
  readonly #local: Uint8Array;
  #localCount = 0;
  #file: FileHandle | null = null;
  readonly #stop = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: { source: PageSource; path: string }) {
    this.#source = options.source;
    this.#path = options.path;
    this.#local = new Uint8Array((options.source.pageCount >>> 3) + 1);
  }

  get pageSizeBytes(): number {
    return this.#source.pageSizeBytes;
  }

  get pageCount(): number {
    return this.#source.pageCount;
  }

  /** How many of the pages are in the file so far. */
  get localCount(): number {
    return this.#localCount;
  }

  /** From the file when the page is there, else from the store at once, before what hydration asks for next. */
  async readPage(pgno: number): Promise<Uint8Array> {
    if (this.#file === null || !this.#isLocal(pgno)) return this.#source.readPage(pgno);
    const page = new Uint8Array(this.pageSizeBytes);
    // A read of what was just written comes from memory: waiting for a thread would take longer.
    const sizeBytes = readSync(this.#file.fd, page, 0, page.length, this.#offsetOf(pgno));
    if (sizeBytes !== page.length) throw damagedDatabase(`page ${pgno} is not in the local file`);
    return page;
  }

  /**
   * Removes what has the name, fetches everything, and resolves when the file is complete, verified, synced and named.
   * Pages are read from it afterwards as well, until somebody writes to it: then this reader's time is over.
   * @throws SpriteError storage_failure, disk_full; no file has the name then. The signal's reason when `close` was called
   */
  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  /** Stops, if it is still running, and lets the file go; pages that are read afterwards come from the store. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("hydration was closed"));
    // Whoever called `run` hears of its failure there.
    await this.#running?.catch(() => {});
    await this.#letGo();
  }

  async #run(): Promise<void> {
    const draft = `${this.#path}.hydrating`;
    try {
      await rm(this.#path, { force: true });
      // A log of a former file would be replayed into this one.
      for (const stale of sidecarPaths(this.#path)) await rm(stale, { force: true });
      this.#file = await open(draft, "w+", 0o600);
      await this.#file.truncate(this.pageCount * this.pageSizeBytes);
      await this.#fill(this.#file);
      await this.#file.sync();
      await rename(draft, this.#path);
      await syncDirectory(dirname(this.#path));
    } catch (error) {
      this.#stop.abort(error);
      await this.#letGo();
      await rm(draft, { force: true });
      throw storeError("hydrate database", error);
    }
  }

  async #fill(file: FileHandle): Promise<void> {
    const writer = new PageRunWriter(file, this.pageSizeBytes, (pgno) => this.#setLocal(pgno));
    const limit = (): number =>
      this.#source.waitingCount > 0 ? hydrationRequestsCountBusy : hydrationRequestsCountMax;
    let decoder = new LtxDecoder();
    for await (const { position, bytes, isLast } of fetchInOrder(this.#parts(), limit)) {
      this.#stop.signal.throwIfAborted();
      decoder.push(bytes);
      let decodedSizeBytes = 0;
      for (let page = decoder.next(); page !== null; page = decoder.next()) {
        const isNewest = this.#source.newestFileOf(page.pgno) === position;
        if (isNewest && writer.add(page)) await writer.flush();
        decodedSizeBytes += this.pageSizeBytes;
        // Decoding keeps the thread busy; whoever waits for a page goes first.
        if (decodedSizeBytes % hydrationTurnSizeBytes === 0) await setImmediate();
      }
      await writer.flush();
      if (isLast) {
        decoder.finish();
        decoder = new LtxDecoder();
      }
      await setImmediate();
    }
    // The indexes that chose the pages were read earlier: they have to be of the same files.
    if (this.#localCount !== this.#source.storedCount) {
      throw damagedDatabase("its LTX files do not have the pages that their indexes name");
    }
  }

  /** All parts of all files, as jobs that fetch them. */
  *#parts(): Generator<() => Promise<{ position: number; bytes: Uint8Array; isLast: boolean }>> {
    for (const [position, file] of this.#source.files.entries()) {
      const { sizeBytes } = file.plan;
      for (let offset = 0; offset < sizeBytes; offset += hydrationPartSizeBytes) {
        const lengthBytes = Math.min(hydrationPartSizeBytes, sizeBytes - offset);
        const isLast = offset + lengthBytes === sizeBytes;
        yield async () => {
          const bytes = await file.read(offset, lengthBytes, this.#stop.signal);
          return { position, bytes, isLast };
        };
      }
    }
  }

  #isLocal(pgno: number): boolean {
    return ((this.#local[pgno >>> 3] ?? 0) & (1 << (pgno & 7))) !== 0;
  }

  #setLocal(pgno: number): void {
    this.#localCount++;
    this.#local[pgno >>> 3] = (this.#local[pgno >>> 3] ?? 0) | (1 << (pgno & 7));
  }

  #offsetOf(pgno: number): number {
    return (pgno - 1) * this.pageSizeBytes;
  }

  async #letGo(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }
}
