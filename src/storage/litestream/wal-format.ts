/**
 * SQLite's write-ahead log, as its file format document describes it (sqlite.org/fileformat2.html,
 * section 4): a header of 32 bytes, then frames of 24 bytes and one page each. Fixed fields are
 * big-endian. A frame belongs to the log when it carries the header's two salts and continues the
 * header's running checksum; what follows the last such frame that ends a transaction is not there.
 */
import { SpriteError } from "../../contract/errors.ts";

export const walHeaderSizeBytes = 32;
export const frameHeaderSizeBytes = 24;

/** Its lowest bit says in which byte order the checksum takes its words. */
const magicLittleEndian = 0x377f_0682;
const magicBigEndian = 0x377f_0683;
const walFormatVersion = 3_007_000;
/** The part of a frame's header that the checksum covers: page number and size after commit. */
const frameChecksummedSizeBytes = 8;

export interface WalHeader {
  pageSizeBytes: number;
  salt1: number;
  salt2: number;
  isBigEndian: boolean;
  checksum: RunningChecksum;
}

/** A pair of unsigned 32-bit sums. */
export interface RunningChecksum {
  first: number;
  second: number;
}

export interface WalFrame {
  pgno: number;
  /** The database's size in pages when the frame ends a transaction, else 0. */
  commitPages: number;
}

/** @throws SpriteError storage_failure for anything that is not a sound header */
export function decodeWalHeader(bytes: Uint8Array): WalHeader {
  if (bytes.length < walHeaderSizeBytes) throw damaged("its header is cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, walHeaderSizeBytes);
  const magic = view.getUint32(0);
  if (magic !== magicLittleEndian && magic !== magicBigEndian) throw damaged("it has no header");
  if (view.getUint32(4) !== walFormatVersion) throw damaged("its version is unknown");
  const isBigEndian = magic === magicBigEndian;
  const checksum = continueChecksum({ first: 0, second: 0 }, bytes.subarray(0, 24), isBigEndian);
  const isSound = view.getUint32(24) === checksum.first && view.getUint32(28) === checksum.second;
  if (!isSound) throw damaged("its header does not match its checksum");
  return {
    pageSizeBytes: view.getUint32(8),
    salt1: view.getUint32(16),
    salt2: view.getUint32(20),
    isBigEndian,
    checksum,
  };
}

/**
 * Checks the frame that begins at the offset of the buffer, against the checksum of all before it.
 * Null: it is none of this log's frames.
 */
export function verifyFrame(
  bytes: Uint8Array,
  header: WalHeader,
  before: RunningChecksum,
): (WalFrame & { checksum: RunningChecksum }) | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, frameHeaderSizeBytes);
  if (view.getUint32(8) !== header.salt1 || view.getUint32(12) !== header.salt2) return null;
  const head = bytes.subarray(0, frameChecksummedSizeBytes);
  const page = bytes.subarray(frameHeaderSizeBytes, frameHeaderSizeBytes + header.pageSizeBytes);
  const begun = continueChecksum(before, head, header.isBigEndian);
  const checksum = continueChecksum(begun, page, header.isBigEndian);
  if (view.getUint32(16) !== checksum.first || view.getUint32(20) !== checksum.second) return null;
  const pgno = view.getUint32(0);
  if (pgno === 0) return null;
  return { pgno, commitPages: view.getUint32(4), checksum };
}

/** The checksum of section 4.2 over whole pairs of words; the bytes begin at a multiple of 4 of their buffer. */
function continueChecksum(
  before: RunningChecksum,
  bytes: Uint8Array,
  isBigEndian: boolean,
): RunningChecksum {
  let first = before.first | 0;
  let second = before.second | 0;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  if (isBigEndian) {
    for (let at = 0; at < words.length; at += 2) {
      first = (first + swapBytes(words[at] as number) + second) | 0;
      second = (second + swapBytes(words[at + 1] as number) + first) | 0;
    }
  } else {
    for (let at = 0; at < words.length; at += 2) {
      first = (first + (words[at] as number) + second) | 0;
      second = (second + (words[at + 1] as number) + first) | 0;
    }
  }
  return { first: first >>> 0, second: second >>> 0 };
}

/** All machines that this runs on keep the lowest byte first. */
function swapBytes(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

export function damaged(why: string): SpriteError {
  return new SpriteError("storage_failure", `the database's write-ahead log is damaged: ${why}`);
}
