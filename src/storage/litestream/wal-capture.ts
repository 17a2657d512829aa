/**
 * Reads from a database's write-ahead log what was committed, and proves that nothing was missed.
 * Nobody but us may fold the log and begin it anew: either the only connection is ours (wal_autocheckpoint
 * = 0 and `truncateIfLong`), or readers of ours keep others from it (replicated-database.ts).
 */
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { lockPageNumber } from "../ltx/format.ts";
import { allPageNumbers, DatabaseFile, readPages } from "./database-pages.ts";
import type {
  Capture,
  CapturedChange,
  DatabaseImage,
  FileFingerprint,
  WalConnection,
  WalPosition,
} from "./database-replica.ts";
import { logSizeBytesMax } from "./limits.ts";
import { frameOffset, startOf, WalFile, type LogPlace } from "./wal-file.ts";
import type { WalHeader } from "./wal-format.ts";

export interface WalCaptureOptions {
  /** Of the database, which is in WAL mode and open. */
  path: string;
  connection: WalConnection;
  /** As `position` said when all before it was in the bucket; null when nothing is. */
  position: WalPosition | null;
}

/** How far the database is captured. */
interface Place {
  /** 0 until the bucket has it. */
  txid: number;
  pageSizeBytes: number;
  commitPages: number;
  /** Null: there was no log yet; whatever begins one comes next. */
  log: { salt1: number; salt2: number; at: LogPlace } | null;
  /** Present when all of that log is in the file, so that a new one may have begun. */
  foldedFile: FileFingerprint | null;
  /** The log's pages that the file may not have. */
  frames: Map<number, number>;
}

interface LogState {
  sizeFrames: number;
  /** Null when the log is empty. */
  header: WalHeader | null;
}

export class WalCapture implements Capture {
  readonly #path: string;
  readonly #connection: WalConnection;
  readonly #file: DatabaseFile;
  #log: WalFile | null = null;
  #place: Place | null = null;
  #imagesOpen = 0;
  /** Where a change that was handed out ends. */
  readonly #ends = new WeakMap<CapturedChange, Place>();

  private constructor({ path, connection }: WalCaptureOptions) {
    this.#path = path;
    this.#connection = connection;
    this.#file = new DatabaseFile(path);
  }

  /** @throws SpriteError storage_failure */
  static open(options: WalCaptureOptions): WalCapture {
    const capture = new WalCapture(options);
    try {
      if (options.position !== null) capture.#place = capture.#believed(options.position);
      return capture;
    } catch (error) {
      capture.close();
      throw error;
    }
  }

  capture(): CapturedChange | null {
    const state = this.#look();
    const place = this.#place;
    if (place === null) return this.#captureImage(state);
    const { header, sizeFrames } = state;
    if (header === null) return this.#isFolded(place) ? null : this.#captureImage(state);
    const endBytes = frameOffset(sizeFrames, header.pageSizeBytes);
    if (isSameLog(place, header)) {
      const at = (place.log as NonNullable<Place["log"]>).at;
      if (endBytes === at.offsetBytes) return null;
      if (endBytes < at.offsetBytes) return this.#captureImage(state);
      return this.#captureFrames(place, header, at, endBytes);
    }
    if (!this.#isFolded(place) || !isNextLog(place, header)) return this.#captureImage(state);
    return this.#captureFrames({ ...place, frames: new Map() }, header, startOf(header), endBytes);
  }

  advance(change: CapturedChange, txid: number): void {
    const end = this.#ends.get(change);
    assert(end !== undefined, "a change is advanced past where it was captured");
    assert(txid > (this.#place?.txid ?? 0), "transactions only grow");
    this.#place = { ...end, txid };
  }

  image(): DatabaseImage | null {
    const place = this.#place;
    if (place === null) return null;
    this.#imagesOpen += 1;
    let isReleased = false;
    return {
      ...this.#imageAt(place),
      txid: place.txid,
      release: () => {
        if (!isReleased) this.#imagesOpen -= 1;
        isReleased = true;
      },
    };
  }

  position(): WalPosition | null {
    if (this.#place === null) return null;
    const { txid, pageSizeBytes, commitPages, log, foldedFile } = this.#place;
    if (log === null) return { txid, pageSizeBytes, commitPages, log, foldedFile };
    const { offsetBytes, checksum } = log.at;
    const place = { offsetBytes, checksum1: checksum.first, checksum2: checksum.second };
    const position = { salt1: log.salt1, salt2: log.salt2, ...place };
    return { txid, pageSizeBytes, commitPages, log: position, foldedFile };
  }

  /** Everything that is committed was advanced past. */
  isCaughtUp(): boolean {
    const place = this.#place;
    if (place === null) return false;
    const { header, sizeFrames } = this.#look();
    if (header === null) return this.#isFolded(place);
    const endBytes = frameOffset(sizeFrames, header.pageSizeBytes);
    return isSameLog(place, header) && place.log?.at.offsetBytes === endBytes;
  }

  truncateIfLong(sizeBytesMax = logSizeBytesMax): boolean {
    if (this.#imagesOpen > 0 || !this.isCaughtUp()) return false;
    const { header, sizeFrames } = this.#look();
    if (header === null) return false;
    if (frameOffset(sizeFrames, header.pageSizeBytes) <= sizeBytesMax) return false;
    if (!this.#connection.truncateWal()) return false;
    this.noteFolded();
    return true;
  }

  /** Tells that all of the log was folded, at a time when `isCaughtUp` held and nobody could write. */
  noteFolded(): void {
    assert(this.#place !== null && this.#imagesOpen === 0, "a captured log is folded");
    this.#place = { ...this.#place, foldedFile: this.#file.fingerprint(), frames: new Map() };
  }

  close(): void {
    this.#log?.close();
    this.#log = null;
    this.#file.close();
  }

  /**
   * The size of the log and the header that it belongs to. Where others write, a new log may begin
   * between the two: SQLite empties its index before it writes a header, so that a header which is the
   * same before and after belongs to the size.
   */
  #look(): LogState {
    for (;;) {
      const frames = this.#connection.walSizeFrames();
      if (frames < 0) throw new SpriteError("storage_failure", "the database has no log");
      if (frames === 0) return { sizeFrames: 0, header: null };
      this.#log ??= WalFile.open(this.#path);
      const before = this.#log.header();
      const sizeFrames = this.#connection.walSizeFrames();
      if (sizeFrames === 0) continue;
      const header = this.#log.header();
      if (before.salt1 === header.salt1 && before.salt2 === header.salt2) {
        return { sizeFrames, header };
      }
    }
  }

  /** The place that a saved position names, if the log still proves it. */
  #believed(position: WalPosition): Place | null {
    const { log, foldedFile: savedFile, ...rest } = position;
    const { header, sizeFrames } = this.#look();
    const foldedFile = this.#isFolded(position) ? savedFile : null;
    if (log === null || header?.salt1 !== log.salt1 || header.salt2 !== log.salt2) {
      return foldedFile === null ? null : { ...rest, log: null, foldedFile, frames: new Map() };
    }
    if (log.offsetBytes > frameOffset(sizeFrames, header.pageSizeBytes)) return null;
    const { end, frames } = this.#openLog().scan(header, startOf(header), log.offsetBytes);
    const { first, second } = end.checksum;
    if (first !== log.checksum1 || second !== log.checksum2) return null;
    return { ...rest, log: { salt1: log.salt1, salt2: log.salt2, at: end }, foldedFile, frames };
  }

  /** The file has everything up to the place, and nobody has folded anything into it since. */
  #isFolded({ foldedFile }: Pick<Place, "foldedFile">): boolean {
    return foldedFile !== null && isEqual(foldedFile, this.#file.fingerprint());
  }

  #captureFrames(
    place: Place,
    header: WalHeader,
    from: LogPlace,
    endBytes: number,
  ): CapturedChange {
    const scan = this.#openLog().scan(header, from, endBytes);
    const { commitPages } = scan;
    const { pageSizeBytes } = header;
    const changed = new Set([...scan.frames.keys()].filter((pgno) => pgno <= commitPages));
    // SQLite logs every page that a database grows by; should it ever not, they are zeros.
    for (let pgno = place.commitPages + 1; pgno <= commitPages; pgno += 1) changed.add(pgno);
    changed.delete(lockPageNumber(pageSizeBytes));
    const pgnos = [...changed].toSorted((a, b) => a - b);
    const frames = new Map([...place.frames, ...scan.frames]);
    const sources = { file: this.#file, log: this.#log, frames, pageSizeBytes };
    const change: CapturedChange = {
      pageSizeBytes,
      commitPages,
      isImage: false,
      pageCount: pgnos.length,
      pages: () => readPages(sources, pgnos),
    };
    const log = { salt1: header.salt1, salt2: header.salt2, at: scan.end };
    this.#ends.set(change, { txid: 0, pageSizeBytes, commitPages, log, foldedFile: null, frames });
    return change;
  }

  #captureImage({ header, sizeFrames }: LogState): CapturedChange | null {
    const end = header === null ? this.#placeWithoutLog() : this.#placeAfter(header, sizeFrames);
    if (end === null) return null;
    const change = this.#imageAt(end);
    this.#ends.set(change, end);
    return change;
  }

  #placeAfter(header: WalHeader, sizeFrames: number): Place {
    const { pageSizeBytes, salt1, salt2 } = header;
    const endBytes = frameOffset(sizeFrames, pageSizeBytes);
    const scan = this.#openLog().scan(header, startOf(header), endBytes);
    const { commitPages, frames } = scan;
    const log = { salt1, salt2, at: scan.end };
    return { txid: 0, pageSizeBytes, commitPages, log, foldedFile: null, frames };
  }

  /** Null: nothing was ever committed. */
  #placeWithoutLog(): Place | null {
    const geometry = this.#file.geometry();
    if (geometry === null) return null;
    const { pageSizeBytes, sizePages } = geometry;
    const foldedFile = this.#file.fingerprint();
    const place = { pageSizeBytes, commitPages: sizePages, log: null, foldedFile };
    return { txid: 0, ...place, frames: new Map() };
  }

  #imageAt(place: Place): CapturedChange {
    const { pageSizeBytes, commitPages, frames } = place;
    const sources = { file: this.#file, log: this.#log, frames, pageSizeBytes };
    const pageCount = commitPages - (commitPages >= lockPageNumber(pageSizeBytes) ? 1 : 0);
    const pages = (): ReturnType<CapturedChange["pages"]> =>
      readPages(sources, allPageNumbers(commitPages, pageSizeBytes));
    return { pageSizeBytes, commitPages, isImage: true, pageCount, pages };
  }

  #openLog(): WalFile {
    if (this.#log === null) throw new SpriteError("storage_failure", "the log is not open");
    return this.#log;
  }
}

function isSameLog(place: Place, header: WalHeader): boolean {
  return place.log?.salt1 === header.salt1 && place.log.salt2 === header.salt2;
}

/** SQLite counts the first salt up by one whenever it begins a log anew. */
function isNextLog(place: Place, header: WalHeader): boolean {
  return place.log === null || header.salt1 === (place.log.salt1 + 1) >>> 0;
}

function isEqual(one: FileFingerprint, other: FileFingerprint): boolean {
  return (
    one.inode === other.inode &&
    one.sizeBytes === other.sizeBytes &&
    one.modifiedAtNs === other.modifiedAtNs &&
    one.changedAtNs === other.changedAtNs
  );
}
