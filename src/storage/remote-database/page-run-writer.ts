import type { FileHandle } from "node:fs/promises";
import type { LtxPage } from "../ltx/format.ts";
import { hydrationWriteSizeBytes } from "./limits.ts";

/** Writes pages to their places in a file, those that lie side by side together. */
export class PageRunWriter {
  readonly #file: FileHandle;
  readonly #pageSizeBytes: number;
  readonly #onWritten: (pgno: number) => void;
  readonly #countMax: number;
  #pages: LtxPage[] = [];

  constructor(file: FileHandle, pageSizeBytes: number, onWritten: (pgno: number) => void) {
    this.#file = file;
    this.#pageSizeBytes = pageSizeBytes;
    this.#onWritten = onWritten;
    this.#countMax = Math.max(1, Math.floor(hydrationWriteSizeBytes / pageSizeBytes));
  }

  /** Takes a page, which comes after the ones before; true when it is time to flush. */
  add(page: LtxPage): boolean {
    this.#pages.push(page);
    return this.#pages.length >= this.#countMax;
  }

  async flush(): Promise<void> {
    const pages = this.#pages;
    this.#pages = [];
    let start = 0;
    for (let at = 1; at <= pages.length; at++) {
      const isNeighbour = pages[at]?.pgno === (pages[at - 1]?.pgno ?? 0) + 1;
      if (isNeighbour) continue;
      await this.#write(pages.slice(start, at));
      start = at;
    }
  }

  async #write(run: readonly LtxPage[]): Promise<void> {
    const bytes = Buffer.concat(run.map((page) => page.bytes));
    const offset = ((run[0]?.pgno ?? 1) - 1) * this.#pageSizeBytes;
    for (let written = 0; written < bytes.length;) {
      const left = bytes.length - written;
      written += (await this.#file.write(bytes, written, left, offset + written)).bytesWritten;
    }
    for (const { pgno } of run) this.#onWritten(pgno);
  }
}
