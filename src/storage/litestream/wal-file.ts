/** Reads a write-ahead log without SQLite: finds which frame of it has the newest copy of each page. */
import { closeSync, openSync, readSync } from "node:fs";
import { logReadSizeBytes } from "./limits.ts";
import {
  damaged,
  decodeWalHeader,
  frameHeaderSizeBytes,
  verifyFrame,
  walHeaderSizeBytes,
  type RunningChecksum,
  type WalHeader,
} from "./wal-format.ts";

/** A place between two frames, and the checksum of all before it. */
export interface LogPlace {
  offsetBytes: number;
  checksum: RunningChecksum;
}

export interface LogScan {
  end: LogPlace;
  /** Where in the file the newest frame of each page begins. */
  frames: Map<number, number>;
  /** The database's size after the last transaction; 0 when there is none. */
  commitPages: number;
}

export function startOf(header: WalHeader): LogPlace {
  return { offsetBytes: walHeaderSizeBytes, checksum: header.checksum };
}

/** The offset after so many frames. */
export function frameOffset(count: number, pageSizeBytes: number): number {
  return walHeaderSizeBytes + count * (frameHeaderSizeBytes + pageSizeBytes);
}

/**
 * The log beside an open database. SQLite takes no lock on this file, so that closing it here gives up
 * none of the process's locks, other than with the database file itself.
 */
export class WalFile {
  readonly #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  static open(databasePath: string): WalFile {
    return new WalFile(openSync(`${databasePath}-wal`, "r"));
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** @throws SpriteError storage_failure */
  header(): WalHeader {
    const bytes = new Uint8Array(walHeaderSizeBytes);
    const count = readSync(this.#descriptor, bytes, 0, bytes.length, 0);
    return decodeWalHeader(bytes.subarray(0, count));
  }

  /**
   * Verifies the frames from one place to an offset, all of which SQLite says are there.
   * @throws SpriteError storage_failure when one is not
   */
  scan(header: WalHeader, from: LogPlace, toOffsetBytes: number): LogScan {
    const frameSizeBytes = frameHeaderSizeBytes + header.pageSizeBytes;
    const frames = new Map<number, number>();
    let { offsetBytes, checksum } = from;
    let commitPages = 0;
    const framesAtOnce = Math.max(1, Math.floor(logReadSizeBytes / frameSizeBytes));
    const buffer = new Uint8Array(
      Math.min(framesAtOnce * frameSizeBytes, Math.max(0, toOffsetBytes - offsetBytes)),
    );
    while (offsetBytes < toOffsetBytes) {
      const wanted = Math.min(buffer.length, toOffsetBytes - offsetBytes);
      const chunk = buffer.subarray(0, wanted);
      if (!readFully(this.#descriptor, chunk, offsetBytes)) throw damaged("it ends too early");
      for (let at = 0; at < wanted; at += frameSizeBytes) {
        const frame = verifyFrame(chunk.subarray(at, at + frameSizeBytes), header, checksum);
        if (frame === null) throw damaged(`the frame at ${offsetBytes} does not continue it`);
        frames.set(frame.pgno, offsetBytes);
        if (frame.commitPages !== 0) commitPages = frame.commitPages;
        checksum = frame.checksum;
        offsetBytes += frameSizeBytes;
      }
    }
    return { end: { offsetBytes, checksum }, frames, commitPages };
  }

  /** The page in the frame that begins at the offset. @throws SpriteError storage_failure */
  readPage(frameOffsetBytes: number, into: Uint8Array): void {
    const offsetBytes = frameOffsetBytes + frameHeaderSizeBytes;
    if (!readFully(this.#descriptor, into, offsetBytes)) throw damaged("it ends too early");
  }
}

/** Fills the bytes from the file; false when it ends before. */
export function readFully(descriptor: number, into: Uint8Array, offsetBytes: number): boolean {
  let filled = 0;
  while (filled < into.length) {
    const rest = into.length - filled;
    const count = readSync(descriptor, into, filled, rest, offsetBytes + filled);
    if (count === 0) return false;
    filled += count;
  }
  return true;
}
