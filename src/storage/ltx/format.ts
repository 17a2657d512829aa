import { SpriteError } from "../../contract/errors.ts";
import { pageCountMax, pageSizeBytesMax, pageSizeBytesMin } from "./limits.ts";

/**
 * LTX: the changed pages of a SQLite database for a range of transactions, in one immutable file
 * (docs/formats/ltx.md; the format is superfly/ltx's, as that library writes it).
 */

export const headerSizeBytes = 100;
export const pageHeaderSizeBytes = 6;
/** The field before a page's LZ4 block that says how long the block is. */
const blockLengthSizeBytes = 4;
export const frameHeaderSizeBytes = pageHeaderSizeBytes + blockLengthSizeBytes;
export const indexLengthSizeBytes = 8;
export const trailerSizeBytes = 16;
/** What follows the page index: its length and the trailer. */
export const tailSizeBytesMin = indexLengthSizeBytes + trailerSizeBytes;

/** "LTX1"; also what today's format, called version 3 by its authors, begins with. */
export const magic = 0x4c54_5831;
/** Header flag: the file does not carry the database's checksums. The only flag there is. */
export const noChecksumFlag = 2;
/** Page flag: a length and a raw LZ4 block follow; without it the page is an LZ4 frame, as before 2026. */
export const blockFlag = 1;
/** Set in every checksum, so that zero can mean that there is none. */
export const checksumFlag = 1n << 63n;

export interface LtxHeader {
  pageSizeBytes: number;
  /** The database's size in pages once the file is applied; 0 when the database was deleted. */
  commitPages: number;
  /** 1 makes the file a snapshot: it has every page of the database. */
  minTxid: number;
  maxTxid: number;
  timestampMs: number;
  /** False, as litestream writes: pre-apply and post-apply checksums are zero then. */
  tracksChecksums: boolean;
  /** The database's checksum before the file is applied; 0 for a snapshot. */
  preApplyChecksum: bigint;
  walOffset: number;
  walSize: number;
  walSalt1: number;
  walSalt2: number;
  /** Who wrote the file: 64 bits. */
  nodeId: bigint;
}

export interface LtxTrailer {
  /** The database's checksum after the file was applied, or 0. */
  postApplyChecksum: bigint;
  fileChecksum: bigint;
}

export interface LtxPage {
  /** Numbered from 1. */
  pgno: number;
  bytes: Uint8Array;
}

/** A header without checksums, write-ahead log position and writer, which most files do not need. */
export function ltxHeader(
  fields: Pick<LtxHeader, "pageSizeBytes" | "commitPages" | "minTxid" | "maxTxid" | "timestampMs"> &
    Partial<LtxHeader>,
): LtxHeader {
  return {
    tracksChecksums: false,
    preApplyChecksum: 0n,
    walOffset: 0,
    walSize: 0,
    walSalt1: 0,
    walSalt2: 0,
    nodeId: 0n,
    ...fields,
  };
}

export function isSnapshot(header: Pick<LtxHeader, "minTxid">): boolean {
  return header.minTxid === 1;
}

/** The page over the byte at 1 GiB that SQLite locks and never writes. */
export function lockPageNumber(pageSizeBytes: number): number {
  return 0x4000_0000 / pageSizeBytes + 1;
}

/** How many pages a snapshot of that size holds. */
export function snapshotPageCount(header: LtxHeader): number {
  const { commitPages } = header;
  return commitPages >= lockPageNumber(header.pageSizeBytes) ? commitPages - 1 : commitPages;
}

/** The page that a snapshot has after this one; 0 stands before the first. */
export function pageAfter(pgno: number, pageSizeBytes: number): number {
  return pgno + 1 === lockPageNumber(pageSizeBytes) ? pgno + 2 : pgno + 1;
}

/** Why a header breaks the format's rules, or null. */
export function headerProblem(header: LtxHeader): string | null {
  const { pageSizeBytes, minTxid, maxTxid, preApplyChecksum } = header;
  if (!isPageSize(pageSizeBytes)) return `page size ${pageSizeBytes}`;
  if (!isWithin(header.commitPages, 0, pageCountMax)) return `size ${header.commitPages} pages`;
  if (!isWithin(minTxid, 1, Number.MAX_SAFE_INTEGER)) return `first transaction ${minTxid}`;
  if (!isWithin(maxTxid, minTxid, Number.MAX_SAFE_INTEGER)) {
    return `transactions ${minTxid} to ${maxTxid}`;
  }
  if (!Number.isSafeInteger(header.timestampMs)) return `timestamp ${header.timestampMs}`;
  if (!isWithin(header.walOffset, 0, Number.MAX_SAFE_INTEGER)) return "log offset";
  if (!isWithin(header.walSize, 0, Number.MAX_SAFE_INTEGER)) return "log size";
  if (!isWithin(header.walSalt1, 0, 0xffff_ffff)) return "log salt";
  if (!isWithin(header.walSalt2, 0, 0xffff_ffff)) return "log salt";
  const hasLogFields = header.walSize !== 0 || header.walSalt1 !== 0 || header.walSalt2 !== 0;
  if (header.walOffset === 0 && hasLogFields) return "log size or salt without log offset";
  if (header.nodeId < 0n || header.nodeId >> 64n !== 0n) return "node id";
  if (isSnapshot(header) || !header.tracksChecksums) {
    return preApplyChecksum === 0n ? null : "pre-apply checksum where there is none";
  }
  return isChecksum(preApplyChecksum) ? null : "no pre-apply checksum";
}

/** Why a page may not follow the one before (0: it is the first) in a file with this header, or null. */
export function pageNumberProblem(
  header: LtxHeader,
  pgno: number,
  previousPgno: number,
): string | null {
  if (!isWithin(pgno, 1, header.commitPages)) return `page ${pgno} of ${header.commitPages}`;
  if (pgno === lockPageNumber(header.pageSizeBytes)) return `lock page ${pgno}`;
  if (pgno <= previousPgno) return `page ${pgno} after ${previousPgno}`;
  if (isSnapshot(header) && pgno !== pageAfter(previousPgno, header.pageSizeBytes)) {
    return `page ${pgno} after ${previousPgno} in a snapshot`;
  }
  return null;
}

/** Why the post-apply checksum does not fit the header, or null. */
export function postApplyProblem(header: LtxHeader, postApplyChecksum: bigint): string | null {
  if (!header.tracksChecksums) {
    return postApplyChecksum === 0n ? null : "post-apply checksum where there is none";
  }
  if (!isChecksum(postApplyChecksum)) return "no post-apply checksum";
  if (header.commitPages === 0 && postApplyChecksum !== checksumFlag) {
    return "post-apply checksum of a deleted database";
  }
  return null;
}

export function damagedLtx(reason: string): SpriteError {
  return new SpriteError("storage_failure", `the LTX file is damaged: ${reason}`);
}

function isPageSize(value: number): boolean {
  return isWithin(value, pageSizeBytesMin, pageSizeBytesMax) && (value & (value - 1)) === 0;
}

function isChecksum(value: bigint): boolean {
  return value >> 63n === 1n;
}

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max;
}
