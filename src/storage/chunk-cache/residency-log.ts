/**
 * The residency log's records (docs/formats/residency-log.md): which blocks of which unit are valid
 * and dirty. Both lanes append, under the image lock; the place to append at is in shared memory,
 * so that a record that was written in part (disk full) is written over by the next.
 */
import { assert } from "../../base/assert.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { diskFullError, writeFully } from "./file-io.ts";
import type { Lane } from "./image-lock.ts";
import { logReserveRecords, logSlowLaneRecords } from "./limits.ts";
import { control, type SharedState } from "./shared-state.ts";

export const headerSizeBytes = 4_096;
export const recordSizeBytes = 16;
const recordsPerAppendMax = 512;

export const recordType = {
  /** unit, valid mask, dirty mask (since the last cut). */
  unit: 1,
  /** The cut's number: all dirty blocks now belong to it. */
  cutBegun: 2,
  /** The cut's number: the local map has it. */
  cutCommitted: 3,
  /** A record count: what the records before it state is on the disk. */
  flushed: 4,
  /** A restore is about to change the map; nothing is dirty. */
  restoreBegun: 5,
  restoreDone: 6,
  /** unit, CRC-32 of its valid blocks (in the masks' place): it is clean. */
  checked: 7,
} as const;

export interface LogRecord {
  type: number;
  /** The unit, or the argument of a marker. */
  value: number;
  valid: number;
  dirty: number;
}

export interface LogHeader {
  /** Boot id of the kernel whose page cache the log relies on. */
  bootId: string;
  /** 32 hex digits; the map holds the same. */
  volumeId: string;
  unitCount: number;
  /** The cache file's inode, so that another file in its place is not believed. */
  blocksInode: number;
  /** Counts the logs that this cache file has had, from 1; 0 for a log in a file of its own. */
  generation: number;
}

/** Where a log's header is. */
export interface LogPlace {
  descriptor: number;
  atBytes: number;
  generation: number;
}

/** fdatasync; another one in tests of what a power failure leaves. */
export type SyncData = (descriptor: number) => void;

const magic = "OSresid3";
/** The formats before: in a file of their own, and so without a generation; the first without checks. */
const magicsBefore: readonly string[] = ["OSresid2", "OSresid1"];

export function encodeHeader(header: LogHeader): Buffer {
  const bytes = Buffer.alloc(headerSizeBytes);
  bytes.write(magic, 0, "latin1");
  bytes.writeUInt32LE(header.unitCount, 8);
  bytes.writeBigUInt64LE(BigInt(header.blocksInode), 16);
  bytes.write(header.volumeId, 24, 32, "latin1");
  bytes.write(header.bootId, 56, 36, "latin1");
  bytes.writeUInt32LE(header.generation, 92);
  bytes.writeUInt32LE(crc32(bytes, 0, 96, 0), 96);
  return bytes;
}

/** Returns null when the bytes are no header of this format. */
export function decodeHeader(bytes: Buffer): LogHeader | null {
  if (bytes.length < headerSizeBytes) return null;
  const found = bytes.toString("latin1", 0, 8);
  const isBefore = magicsBefore.includes(found);
  if (found !== magic && !isBefore) return null;
  const end = isBefore ? 92 : 96;
  if (bytes.readUInt32LE(end) !== crc32(bytes, 0, end, 0)) return null;
  return {
    unitCount: bytes.readUInt32LE(8),
    blocksInode: Number(bytes.readBigUInt64LE(16)),
    volumeId: bytes.toString("latin1", 24, 56),
    bootId: bytes.toString("latin1", 56, 92).replace(/\0+$/, ""),
    generation: isBefore ? 0 : bytes.readUInt32LE(92),
  };
}

/**
 * What a record's checksum starts from: its index and the log's generation, so that a record in a wrong
 * place, or of a log that was here before, is not believed.
 */
export function recordSeed(generation: number, index: number): number {
  return (index ^ Math.imul(generation, 0x9e37_79b1)) >>> 0;
}

/** The seed is `recordSeed`'s. */
export function encodeRecord(into: Buffer, at: number, seed: number, record: LogRecord): void {
  into.writeUInt32LE(record.value, at);
  into.writeUInt16LE(record.valid, at + 4);
  into.writeUInt16LE(record.dirty, at + 6);
  into.writeUInt32LE(record.type, at + 8);
  into.writeUInt32LE(crc32(into, at, at + 12, seed), at + 12);
}

/** Returns null when no record with this seed is there. */
export function decodeRecord(bytes: Buffer, at: number, seed: number): LogRecord | null {
  const type = bytes.readUInt32LE(at + 8);
  if (type < recordType.unit || type > recordType.checked) return null;
  if (bytes.readUInt32LE(at + 12) !== crc32(bytes, at, at + 12, seed)) return null;
  return {
    type,
    value: bytes.readUInt32LE(at),
    valid: bytes.readUInt16LE(at + 4),
    dirty: bytes.readUInt16LE(at + 6),
  };
}

export class ResidencyLog {
  readonly #state: SharedState;
  readonly #descriptor: number;
  readonly #recordsMax: number;
  /**
   * Reserved room that this lane leaves alone: a full disk stops the guest's writes, not the cuts
   * that make room.
   */
  readonly #marginRecords: number;
  readonly #scratch = Buffer.alloc(recordsPerAppendMax * recordSizeBytes);
  #pending = 0;

  /** The descriptor is the cache file's. */
  constructor(state: SharedState, options: { descriptor: number; recordsMax: number; lane: Lane }) {
    this.#state = state;
    this.#descriptor = options.descriptor;
    this.#recordsMax = options.recordsMax;
    this.#marginRecords = options.lane === "fast" ? logSlowLaneRecords : 0;
  }

  get recordCount(): number {
    return this.#state.control[control.logRecords] as number;
  }

  /** Space that the log takes in the cache file. */
  get allocatedBytes(): number {
    const end = logOffset(this.#state.control[control.logReserved] as number);
    return Math.ceil(end / blockSizeBytes) * blockSizeBytes;
  }

  /** Prepares a record; `append` writes all prepared ones. */
  add(type: number, value: number, valid: number, dirty: number): void {
    if (this.#pending === recordsPerAppendMax) this.append();
    const index = this.recordCount + this.#pending;
    const seed = recordSeed(this.#state.control[control.logGeneration] as number, index);
    encodeRecord(this.#scratch, this.#pending * recordSizeBytes, seed, {
      type,
      value,
      valid,
      dirty,
    });
    this.#pending++;
  }

  addCheck(unit: number, check: number): void {
    const { type, value, valid, dirty } = checkRecord(unit, check);
    this.add(type, value, valid, dirty);
  }

  /** @throws the file system's error, such as ENOSPC; then none of the prepared records count */
  append(): void {
    const count = this.#pending;
    this.#pending = 0;
    if (count === 0) return;
    const words = this.#state.control;
    const first = words[control.logRecords] as number;
    const needed = first + count + this.#marginRecords;
    if (needed > (words[control.logReserved] as number)) this.#reserve(needed);
    const at = this.#startBytes + logOffset(first);
    writeFully(this.#descriptor, this.#scratch, count * recordSizeBytes, at);
    words[control.logRecords] = first + count;
  }

  /** Sees to it that so many records fit into room that is already allocated. */
  reserve(records: number): void {
    const needed = this.recordCount + records;
    if (needed > (this.#state.control[control.logReserved] as number)) this.#reserve(needed);
  }

  mark(type: number, value: number): void {
    assert(this.#pending === 0, "a marker stands alone");
    this.add(type, value, 0, 0);
    this.append();
  }

  #reserve(recordsMin: number): void {
    const words = this.#state.control;
    const from = words[control.logReserved] as number;
    const records = Math.max(logReserveRecords, recordsMin - from);
    if (from + records > this.#recordsMax) throw diskFullError();
    // Block by block: large writes make large folios, in which every small write costs more.
    const zeros = Buffer.alloc(blockSizeBytes);
    const end = logOffset(from + records);
    for (let at = logOffset(from); at < end;) {
      const size = Math.min(blockSizeBytes - (at % blockSizeBytes), end - at);
      writeFully(this.#descriptor, zeros, size, this.#startBytes + at);
      at += size;
    }
    words[control.logReserved] = from + records;
  }

  get #startBytes(): number {
    return (this.#state.control[control.logStartUnits] as number) * unitSizeBytes;
  }
}

export function logOffset(record: number): number {
  return headerSizeBytes + record * recordSizeBytes;
}

/** The check in a record of the type `checked`. */
export function recordedCheck(record: LogRecord): number {
  return (record.valid | (record.dirty << 16)) >>> 0;
}

export function checkRecord(unit: number, check: number): LogRecord {
  return { type: recordType.checked, value: unit, valid: check & 0xffff, dirty: check >>> 16 };
}

/**
 * Writes a whole log: the records that `each` emits, then a flush marker over them. Syncs the file, and
 * only then writes the header, by which all of it counts, and syncs that.
 */
export function writeWholeLog(
  place: { descriptor: number; atBytes: number; syncData: SyncData },
  header: LogHeader,
  each: (emit: (record: LogRecord) => void) => void,
): { records: number } {
  const { descriptor, atBytes, syncData } = place;
  const buffer = Buffer.alloc(recordsPerAppendMax * recordSizeBytes);
  let written = 0;
  let pending = 0;
  const drain = (): void => {
    writeFully(descriptor, buffer, pending * recordSizeBytes, atBytes + logOffset(written));
    written += pending;
    pending = 0;
  };
  const emit = (record: LogRecord): void => {
    const seed = recordSeed(header.generation, written + pending);
    encodeRecord(buffer, pending * recordSizeBytes, seed, record);
    if (++pending === recordsPerAppendMax) drain();
  };
  each(emit);
  emit({ type: recordType.flushed, value: written + pending, valid: 0, dirty: 0 });
  drain();
  syncData(descriptor);
  writeFully(descriptor, encodeHeader(header), headerSizeBytes, atBytes);
  syncData(descriptor);
  return { records: written };
}

const crcTable = makeCrcTable();

/** CRC-32 (IEEE) of a few bytes: quicker here than a call into zlib. */
function crc32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let value = ~seed;
  for (let i = start; i < end; i++) {
    value = (crcTable[(value ^ (bytes[i] as number)) & 0xff] as number) ^ (value >>> 8);
  }
  return ~value >>> 0;
}

function makeCrcTable(): Int32Array {
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[byte] = value;
  }
  return table;
}
