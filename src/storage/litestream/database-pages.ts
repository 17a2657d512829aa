/** The pages of an open database as they were at one place of its log: from the log, or else from the file. */
import { closeSync, fstatSync, openSync, type BigIntStats } from "node:fs";
import { SpriteError } from "../../contract/errors.ts";
import type { LtxPage } from "../ltx/format.ts";
import { pageAfter } from "../ltx/format.ts";
import type { FileFingerprint } from "./database-replica.ts";
import { readFully, type WalFile } from "./wal-file.ts";

/** SQLite's own header at the begin of page 1, as far as it matters here (fileformat2.html, section 1.3). */
const headerSizeBytes = 100;
const pageSizeAt = 16;
const changeCounterAt = 24;
const sizePagesAt = 28;
const versionValidForAt = 92;

/**
 * A database's file, read past SQLite. Its descriptor must outlive all of this process's connections to
 * the database: closing any descriptor of a file gives up every POSIX lock that the process holds on it.
 */
export class DatabaseFile {
  readonly #descriptor: number;

  constructor(path: string) {
    this.#descriptor = openSync(path, "r");
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  fingerprint(): FileFingerprint {
    return fingerprintOf(fstatSync(this.#descriptor, { bigint: true }));
  }

  /** What a database without a log says of itself; null when the file is empty. @throws SpriteError storage_failure */
  geometry(): { pageSizeBytes: number; sizePages: number } | null {
    const fileSizeBytes = fstatSync(this.#descriptor).size;
    if (fileSizeBytes === 0) return null;
    const bytes = new Uint8Array(headerSizeBytes);
    if (!readFully(this.#descriptor, bytes, 0)) throw damagedFile("it has no header");
    const view = new DataView(bytes.buffer);
    const stored = view.getUint16(pageSizeAt);
    const pageSizeBytes = stored === 1 ? 65_536 : stored;
    if (pageSizeBytes < 512) throw damagedFile("its page size is impossible");
    const sizePages = view.getUint32(sizePagesAt);
    const isKept = view.getUint32(changeCounterAt) === view.getUint32(versionValidForAt);
    const isKnown = isKept && sizePages > 0;
    return {
      pageSizeBytes,
      sizePages: isKnown ? sizePages : Math.floor(fileSizeBytes / pageSizeBytes),
    };
  }

  /** False when the file ends before the page does. */
  readPage(pgno: number, into: Uint8Array): boolean {
    return readFully(this.#descriptor, into, (pgno - 1) * into.length);
  }
}

export function fingerprintOf(stat: BigIntStats): FileFingerprint {
  const { ino, size, mtimeNs, ctimeNs } = stat;
  return {
    inode: String(ino),
    sizeBytes: Number(size),
    modifiedAtNs: String(mtimeNs),
    changedAtNs: String(ctimeNs),
  };
}

export interface PageSources {
  file: DatabaseFile;
  log: WalFile | null;
  /** Where the log has the newest copy of a page; other pages are read from the file. */
  frames: ReadonlyMap<number, number>;
  pageSizeBytes: number;
}

/** One buffer serves all pages: each is valid until the next. @throws SpriteError storage_failure */
export function* readPages(sources: PageSources, pgnos: Iterable<number>): Iterable<LtxPage> {
  const { file, log, frames, pageSizeBytes } = sources;
  const bytes = new Uint8Array(pageSizeBytes);
  for (const pgno of pgnos) {
    const at = frames.get(pgno);
    if (at !== undefined && log !== null) log.readPage(at, bytes);
    // SQLite reads a page past the end of the file as zeros.
    else if (!file.readPage(pgno, bytes)) bytes.fill(0);
    yield { pgno, bytes };
  }
}

/** Every page that a snapshot holds: all but the one that SQLite locks at 1 GiB. */
export function* allPageNumbers(commitPages: number, pageSizeBytes: number): Iterable<number> {
  for (let pgno = pageAfter(0, pageSizeBytes); pgno <= commitPages;) {
    yield pgno;
    pgno = pageAfter(pgno, pageSizeBytes);
  }
}

function damagedFile(why: string): SpriteError {
  return new SpriteError("storage_failure", `the database's file is damaged: ${why}`);
}
