/**
 * Reads from a database's write-ahead log what was committed, and proves that nothing was missed.
 * Nobody but us may fold the log and begin it anew: either the only connection is ours (wal_autocheckpoint
 * = 0 and `truncateIfLong`), or readers of ours keep others from it (replicated-database.ts).
 */
import { assert, must } from "../../base/assert.ts";
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
  /** The database's file, if it is to stay open when the capture is closed: other connections go on. */
  file?: DatabaseFile;
}

/** How far the database is captured. */
interface Place {
  /** 0 until the bucket has it. */
  txid: number;
  pageSizeBytes: number;
  commitPages: number;
  /** Null: there was no log yet; whatever begins one comes next. */
  log: { salt1: number; salt2: number; at: LogPlace } | null;
  /** All of that log is in the file, so that a new one may have begun. */
  isFolded: boolean;
  /** The file when it had nothing beyond this place; null when that is not known. */
  file: FileFingerprint | null;
  /** The log's pages that the file may not have. */
  frames: Map<number, number>;
}

interface LogState {
  /** Taken before the size: what was folded into the file by then is within it. */
  file: FileFingerprint;
  sizeFrames: number;
  /** Null when the log is empty. */
  header: WalHeader | null;
}

export class WalCapture implements Capture {
  readonly #path: string;
  readonly #connection: WalConnection;
  readonly #file: DatabaseFile;
  readonly #isFileOurs: boolean;
  #log: WalFile | null = null;
  #place: Place | null = null;
  #imagesOpen = 0;
  /** Where a change that was handed out ends. */
  readonly #ends = new WeakMap<CapturedChange, Place>();

  private constructor({ path, connection, file }: WalCaptureOptions) {
    this.#path = path;
    this.#connection = connection;
    this.#file = file ?? new DatabaseFile(path);
    this.#isFileOurs = file === undefined;
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
    if (place === null || !isContinued(place, state)) return this.#captureImage(state);
    if (state.header === null) return null;
    const { header, sizeFrames } = state;
    const log = isSameLog(place, header) ? place.log : null;
    const from = log?.at ?? startOf(header);
    if (from.offsetBytes === frameOffset(sizeFrames, header.pageSizeBytes)) return null;
    const before = log === null ? { ...place, frames: new Map<number, number>() } : place;
    return this.#captureFrames(before, { state, from });
  }

  advance(change: CapturedChange, txid: number): void {
    const end = this.#ends.get(change);
    assert(end !== undefined, "a change is advanced past where it was captured");
    assert(txid > (this.#place?.txid ?? 0), "transactions only grow");
    this.#place = { ...end, txid };
  }

  image(): DatabaseImage | null {
    const place = this.#place;
    if (place === null || !this.#isWhole(place)) return null;
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
    const { log, frames: _, ...position } = this.#place;
    if (log === null) return { ...position, log };
    const { offsetBytes, checksum } = log.at;
    const place = { offsetBytes, checksum1: checksum.first, checksum2: checksum.second };
    return { ...position, log: { salt1: log.salt1, salt2: log.salt2, ...place } };
  }

  /** Everything that is committed was advanced past. */
  isCaughtUp(): boolean {
    const place = this.#place;
    if (place === null) return false;
    const state = this.#look();
    const { header, sizeFrames } = state;
    if (header === null) return isContinued(place, state);
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
    const file = this.#file.fingerprint();
    this.#place = { ...this.#place, isFolded: true, file, frames: new Map() };
  }

  close(): void {
    this.#log?.close();
    this.#log = null;
    if (this.#isFileOurs) this.#file.close();
  }

  /**
   * The size of the log and the header that it belongs to. Where others write, a new log may begin
   * between the two: SQLite empties its index before it writes a header, so that a header which is the
   * same before and after belongs to the size.
   */
  #look(): LogState {
    for (;;) {
      const file = this.#file.fingerprint();
      const frames = this.#connection.walSizeFrames();
      if (frames < 0) throw new SpriteError("storage_failure", "the database has no log");
      if (frames === 0) return { file, sizeFrames: 0, header: null };
      this.#log ??= WalFile.open(this.#path);
      const before = this.#log.header();
      const sizeFrames = this.#connection.walSizeFrames();
      if (sizeFrames === 0) continue;
      const header = this.#log.header();
      if (before.salt1 === header.salt1 && before.salt2 === header.salt2) {
        return { file, sizeFrames, header };
      }
    }
  }

  /** The place that a saved position names, if the log still proves it. */
  #believed(position: WalPosition): Place | null {
    const state = this.#look();
    const { file, header, sizeFrames } = state;
    const isUnchanged = position.file !== null && isEqual(position.file, file);
    const rest = { ...position, isFolded: position.isFolded && isUnchanged, log: null };
    const { log } = position;
    if (log === null || header?.salt1 !== log.salt1 || header.salt2 !== log.salt2) {
      return rest.isFolded ? { ...rest, frames: new Map() } : null;
    }
    const endBytes = frameOffset(sizeFrames, header.pageSizeBytes);
    if (log.offsetBytes > endBytes) return null;
    const { end, frames } = this.#openLog().scan(header, startOf(header), log.offsetBytes);
    const { first, second } = end.checksum;
    if (first !== log.checksum1 || second !== log.checksum2) return null;
    const at = { salt1: log.salt1, salt2: log.salt2, at: end };
    // Somebody else may have folded the log, but into the file went nothing that is not there.
    const isKnown = isUnchanged || log.offsetBytes === endBytes;
    return { ...rest, log: at, file: isKnown ? file : null, frames };
  }

  /** File and log still tell the database at the place from what came later. */
  #isWhole(place: Place): boolean {
    const state = this.#look();
    const isUnchanged = place.file !== null && isEqual(place.file, state.file);
    return isUnchanged && isContinued(place, state);
  }

  #captureFrames(
    place: Place,
    { state, from }: { state: LogState; from: LogPlace },
  ): CapturedChange {
    const header = must(state.header, "a log with frames has a header");
    const { pageSizeBytes, salt1, salt2 } = header;
    const endBytes = frameOffset(state.sizeFrames, pageSizeBytes);
    const scan = this.#openLog().scan(header, from, endBytes);
    const { commitPages } = scan;
    const changed = new Set([...scan.frames.keys()].filter((pgno) => pgno <= commitPages));
    // SQLite logs every page that a database grows by; should it ever not, they are zeros.
    for (let pgno = place.commitPages + 1; pgno <= commitPages; pgno += 1) changed.add(pgno);
    changed.delete(lockPageNumber(pageSizeBytes));
    const pgnos = [...changed].toSorted((a, b) => a - b);
    const frames = new Map([...place.frames, ...scan.frames]);
    const log = { salt1, salt2, at: scan.end };
    const { file } = state;
    const end = { txid: 0, pageSizeBytes, commitPages, log, isFolded: false, file, frames };
    const change = { pageSizeBytes, commitPages, isImage: false, pageCount: pgnos.length };
    const isStill = (): boolean => isContinued(end, this.#look());
    return this.#remember({ ...change, pages: () => this.#read(end, { pgnos, isStill }) }, end);
  }

  #captureImage(state: LogState): CapturedChange | null {
    const end = state.header === null ? this.#endWithoutLog(state) : this.#endOf(state);
    return end === null ? null : this.#remember(this.#imageAt(end), end);
  }

  #endOf({ header: found, sizeFrames, file }: LogState): Place {
    const header = must(found, "the log has a header");
    const { pageSizeBytes, salt1, salt2 } = header;
    const endBytes = frameOffset(sizeFrames, pageSizeBytes);
    const { end, commitPages, frames } = this.#openLog().scan(header, startOf(header), endBytes);
    const log = { salt1, salt2, at: end };
    return { txid: 0, pageSizeBytes, commitPages, log, isFolded: false, file, frames };
  }

  /** Null: nothing was ever committed. */
  #endWithoutLog({ file }: LogState): Place | null {
    const geometry = this.#file.geometry();
    if (geometry === null) return null;
    const { pageSizeBytes, sizePages: commitPages } = geometry;
    const frames = new Map<number, number>();
    return { txid: 0, pageSizeBytes, commitPages, log: null, isFolded: true, file, frames };
  }

  #imageAt(place: Place): CapturedChange {
    const { pageSizeBytes, commitPages } = place;
    const pageCount = commitPages - (commitPages >= lockPageNumber(pageSizeBytes) ? 1 : 0);
    const pages = (): ReturnType<CapturedChange["pages"]> => {
      const pgnos = allPageNumbers(commitPages, pageSizeBytes);
      return this.#read(place, { pgnos, isStill: () => this.#isWhole(place) });
    };
    return { pageSizeBytes, commitPages, isImage: true, pageCount, pages };
  }

  *#read(
    place: Place,
    { pgnos, isStill }: { pgnos: Iterable<number>; isStill: () => boolean },
  ): ReturnType<CapturedChange["pages"]> {
    const { frames, pageSizeBytes } = place;
    const sources = { file: this.#file, log: this.#log, frames, pageSizeBytes };
    yield* readPages(sources, pgnos);
    if (isStill()) return;
    throw new SpriteError("storage_failure", "the log was folded while it was read");
  }

  #remember(change: CapturedChange, end: Place): CapturedChange {
    this.#ends.set(change, end);
    return change;
  }

  #openLog(): WalFile {
    if (this.#log === null) throw new SpriteError("storage_failure", "the log is not open");
    return this.#log;
  }
}

/** The log goes on from the place, or was begun anew after all of it was in the file. */
function isContinued(place: Place, { header, sizeFrames, file }: LogState): boolean {
  const { log } = place;
  if (header !== null && log !== null && isSameLog(place, header)) {
    return log.at.offsetBytes <= frameOffset(sizeFrames, header.pageSizeBytes);
  }
  if (!place.isFolded || place.file === null || !isEqual(place.file, file)) return false;
  // SQLite counts the first salt up by one whenever it begins a log anew.
  return header === null || log === null || header.salt1 === (log.salt1 + 1) >>> 0;
}

function isSameLog({ log }: Place, header: WalHeader): boolean {
  return log?.salt1 === header.salt1 && log.salt2 === header.salt2;
}

function isEqual(one: FileFingerprint, other: FileFingerprint): boolean {
  return (
    one.inode === other.inode &&
    one.sizeBytes === other.sizeBytes &&
    one.modifiedAtNs === other.modifiedAtNs &&
    one.changedAtNs === other.changedAtNs
  );
}
