/**
 * A file of a simulated disk, in memory. Until it is synced it knows each page as it was: a page is never changed, but
 * replaced, so that remembering one costs nothing.
 */
import type { Scheduler } from "./scheduler.ts";

const pageSizeBytes = 4_096;
const sectorsPerPage = pageSizeBytes / 512;

/** What the disk has of a file until it is synced. */
interface Unsynced {
  sizeBytes: number;
  /** Pages as they were; null where there was none. */
  pages: Map<number, Buffer | null>;
}

export class SimulatedFile {
  readonly inode: number;
  #sizeBytes = 0;
  /** A page that is missing is zeros, and takes no space. */
  readonly #pages = new Map<number, Buffer>();
  #unsynced: Unsynced | null = null;

  constructor(inode: number) {
    this.inode = inode;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** As `stat` counts them. */
  get blocks(): number {
    return this.#pages.size * sectorsPerPage;
  }

  get pageCount(): number {
    return this.#pages.size;
  }

  /** How many of so many bytes can be written there when so many pages are left. */
  fitting(at: number, length: number, pagesLeft: number): number {
    let left = pagesLeft;
    for (let page = Math.floor(at / pageSizeBytes); page * pageSizeBytes < at + length; page++) {
      if (!this.#pages.has(page) && --left < 0) return Math.max(0, page * pageSizeBytes - at);
    }
    return length;
  }

  read(into: Uint8Array, offset: number, length: number, at: number): number {
    const end = Math.min(at + length, this.#sizeBytes);
    for (let from = at; from < end;) {
      const page = Math.floor(from / pageSizeBytes);
      const to = Math.min(end, (page + 1) * pageSizeBytes);
      const bytes = this.#pages.get(page);
      const start = offset + from - at;
      if (bytes === undefined) into.fill(0, start, start + to - from);
      else bytes.copy(into, start, from - page * pageSizeBytes, to - page * pageSizeBytes);
      from = to;
    }
    return Math.max(0, end - at);
  }

  write(source: Uint8Array, at: number): number {
    const unsynced = this.#remembering();
    const bytes = Buffer.from(source);
    const end = at + bytes.length;
    for (let from = at; from < end;) {
      const page = Math.floor(from / pageSizeBytes);
      const to = Math.min(end, (page + 1) * pageSizeBytes);
      const old = this.#pages.get(page) ?? null;
      if (!unsynced.pages.has(page)) unsynced.pages.set(page, old);
      const piece = bytes.subarray(from - at, to - at);
      this.#pages.set(page, withPiece(old, piece, from - page * pageSizeBytes));
      from = to;
    }
    this.#sizeBytes = Math.max(this.#sizeBytes, end);
    return bytes.length;
  }

  punch(at: number, length: number): void {
    const unsynced = this.#remembering();
    for (let from = at; from < at + length;) {
      const page = Math.floor(from / pageSizeBytes);
      const to = Math.min(at + length, (page + 1) * pageSizeBytes);
      const old = this.#pages.get(page);
      if (old !== undefined) {
        if (!unsynced.pages.has(page)) unsynced.pages.set(page, old);
        if (to - from === pageSizeBytes) this.#pages.delete(page);
        else {
          const start = from - page * pageSizeBytes;
          this.#pages.set(page, withPiece(old, Buffer.alloc(to - from), start));
        }
      }
      from = to;
    }
  }

  truncate(sizeBytes: number): void {
    const unsynced = this.#remembering();
    for (const [page, old] of this.#pages) {
      if ((page + 1) * pageSizeBytes <= sizeBytes) continue;
      if (!unsynced.pages.has(page)) unsynced.pages.set(page, old);
      const kept = sizeBytes - page * pageSizeBytes;
      if (kept <= 0) this.#pages.delete(page);
      else this.#pages.set(page, withPiece(old, Buffer.alloc(pageSizeBytes - kept), kept));
    }
    this.#sizeBytes = sizeBytes;
  }

  /** Its content, to be looked at by whoever damages it. */
  content(): Buffer {
    const bytes = Buffer.alloc(this.#sizeBytes);
    this.read(bytes, 0, bytes.length, 0);
    return bytes;
  }

  synced(): void {
    this.#unsynced = null;
  }

  /** The power went: each page that was not synced stays or goes. */
  forget(scheduler: Scheduler, loss: number): void {
    const unsynced = this.#unsynced;
    if (unsynced === null) return;
    if (scheduler.chance(loss)) this.truncate(unsynced.sizeBytes);
    for (const [page, bytes] of unsynced.pages) {
      if (!scheduler.chance(loss)) continue;
      if (page * pageSizeBytes >= this.#sizeBytes || bytes === null) this.#pages.delete(page);
      else this.#pages.set(page, bytes);
    }
    this.#unsynced = null;
  }

  #remembering(): Unsynced {
    this.#unsynced ??= { sizeBytes: this.#sizeBytes, pages: new Map() };
    return this.#unsynced;
  }
}

function withPiece(old: Buffer | null, piece: Buffer, at: number): Buffer {
  if (piece.length === pageSizeBytes) return piece;
  const page = Buffer.alloc(pageSizeBytes);
  old?.copy(page);
  piece.copy(page, at);
  return page;
}
