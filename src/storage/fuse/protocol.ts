/**
 * The kernel's FUSE protocol, version 7.31, as far as a directory of block files needs it
 * (docs/formats/fuse.md). Integers are in the machine's order, which is little-endian wherever we
 * run.
 */
import { attributeTimeoutSeconds, backgroundRequestsMax, dataSizeBytesMax } from "./limits.ts";

export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  access: 34,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
} as const;

export const errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EINVAL: 22,
  ENOSPC: 28,
  EROFS: 30,
  ENOSYS: 38,
  EOPNOTSUPP: 95,
} as const;

export const inHeaderSizeBytes = 40;
export const outHeaderSizeBytes = 16;
/** Where the fields of READ and WRITE are, from the request's start. */
export const ioField = { offset: 48, size: 56 } as const;
export const writeDataOffsetBytes = inHeaderSizeBytes + 40;

export const rootNode = 1;
export const liveNode = 2;

/**
 * The reply to OPEN: FOPEN_DIRECT_IO (reads and writes pass the page cache by) and
 * FOPEN_PARALLEL_DIRECT_WRITES (else the kernel lets one write at a time through). What that gains
 * is not settled (docs/formats/fuse.md).
 */
export const openFlags = (1 << 0) | (1 << 6);

/** FALLOC_FL_KEEP_SIZE with PUNCH_HOLE, and with ZERO_RANGE. */
export const fallocateModes = { punchHole: 3, zeroRange: 17 } as const;

export interface RequestHeader {
  lengthBytes: number;
  opcode: number;
  /**
   * A 64-bit number that only the kernel reads. Its highest bit says that another server had the
   * request before us (FUSE_UNIQUE_RESEND), and belongs to the reply too.
   */
  unique: bigint;
  node: number;
}

export function decodeHeader(request: DataView): RequestHeader {
  return {
    lengthBytes: request.getUint32(0, true),
    opcode: request.getUint32(4, true),
    unique: request.getBigUint64(8, true),
    node: Number(request.getBigUint64(16, true)),
  };
}

export function encodeReply(unique: bigint, body: Uint8Array | null, error = 0): Uint8Array {
  const bytes = new Uint8Array(outHeaderSizeBytes + (body?.length ?? 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setInt32(4, -error, true);
  view.setBigUint64(8, unique, true);
  if (body !== null) bytes.set(body, outHeaderSizeBytes);
  return bytes;
}

/** FUSE_NOTIFY_RESEND of linux/fuse.h 7.40. */
const notifyResend = 7;

/** A message without a request: the code is where an error would be, the number is 0. */
export function encodeResend(): Uint8Array {
  return encodeReply(0n, null, -notifyResend);
}

const initFlag = {
  asyncRead: 1 << 0,
  bigWrites: 1 << 5,
  asyncDirectIo: 1 << 15,
  parallelDirectoryOperations: 1 << 18,
  maxPages: 1 << 22,
} as const;
const minorVersion = 31;
const pageSizeBytes = 4_096;

/** The reply to INIT; null when the kernel speaks another major version. */
export function encodeInit(request: DataView): Uint8Array | null {
  const major = request.getUint32(inHeaderSizeBytes, true);
  const minor = request.getUint32(inHeaderSizeBytes + 4, true);
  const readAheadSizeBytes = request.getUint32(inHeaderSizeBytes + 8, true);
  const offered = request.getUint32(inHeaderSizeBytes + 12, true);
  if (major !== 7 || minor < minorVersion) return null;
  const wanted =
    initFlag.asyncRead |
    initFlag.bigWrites |
    initFlag.asyncDirectIo |
    initFlag.parallelDirectoryOperations |
    initFlag.maxPages;
  const view = new DataView(new ArrayBuffer(64));
  view.setUint32(0, 7, true);
  view.setUint32(4, minorVersion, true);
  view.setUint32(8, readAheadSizeBytes, true);
  view.setUint32(12, offered & wanted, true);
  view.setUint16(16, backgroundRequestsMax, true);
  view.setUint16(18, backgroundRequestsMax - 32, true);
  view.setUint32(20, dataSizeBytesMax, true);
  // Times are in nanoseconds.
  view.setUint32(24, 1, true);
  view.setUint16(28, dataSizeBytesMax / pageSizeBytes, true);
  return new Uint8Array(view.buffer);
}

export interface NodeAttributes {
  node: number;
  kind: "directory" | "file";
  sizeBytes: number;
  isWritable: boolean;
}

const modeDirectory = 0o040_000;
const modeFile = 0o100_000;
const attributesSizeBytes = 88;

function encodeAttributes(view: DataView, at: number, attributes: NodeAttributes): void {
  const isDirectory = attributes.kind === "directory";
  const permissions = isDirectory ? 0o700 : attributes.isWritable ? 0o600 : 0o400;
  view.setBigUint64(at, BigInt(attributes.node), true);
  view.setBigUint64(at + 8, BigInt(attributes.sizeBytes), true);
  view.setBigUint64(at + 16, BigInt(Math.ceil(attributes.sizeBytes / 512)), true);
  view.setUint32(at + 60, (isDirectory ? modeDirectory : modeFile) | permissions, true);
  view.setUint32(at + 64, isDirectory ? 2 : 1, true);
  view.setUint32(at + 80, pageSizeBytes, true);
}

export function encodeAttributesReply(attributes: NodeAttributes): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 + attributesSizeBytes));
  view.setBigUint64(0, BigInt(attributeTimeoutSeconds), true);
  encodeAttributes(view, 16, attributes);
  return new Uint8Array(view.buffer);
}

/** `isLasting`: the kernel may keep the name without asking again. */
export function encodeEntry(attributes: NodeAttributes, isLasting: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(40 + attributesSizeBytes));
  view.setBigUint64(0, BigInt(attributes.node), true);
  view.setBigUint64(16, BigInt(isLasting ? attributeTimeoutSeconds : 0), true);
  view.setBigUint64(24, BigInt(attributeTimeoutSeconds), true);
  encodeAttributes(view, 40, attributes);
  return new Uint8Array(view.buffer);
}

export function encodeOpen(openFlags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(8, openFlags, true);
  return new Uint8Array(view.buffer);
}

export function encodeWritten(sizeBytes: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, sizeBytes, true);
  return new Uint8Array(view.buffer);
}

export function encodeStatistics(sizeBytes: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(80));
  const blocks = BigInt(Math.ceil(sizeBytes / pageSizeBytes));
  view.setBigUint64(0, blocks, true);
  view.setUint32(40, pageSizeBytes, true);
  view.setUint32(44, 255, true);
  view.setUint32(48, pageSizeBytes, true);
  return new Uint8Array(view.buffer);
}

export interface DirectoryEntry {
  name: string;
  node: number;
  kind: NodeAttributes["kind"];
}

/** The entries from the index `first` on that fit. An entry's offset is the index of the next one. */
export function encodeDirectory(
  entries: readonly DirectoryEntry[],
  first: number,
  sizeBytesMax: number,
): Uint8Array {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for (const [index, entry] of entries.entries()) {
    if (index < first) continue;
    const name = Buffer.from(entry.name);
    const part = Buffer.alloc(24 + Math.ceil(name.length / 8) * 8);
    part.writeBigUInt64LE(BigInt(entry.node), 0);
    part.writeBigUInt64LE(BigInt(index + 1), 8);
    part.writeUInt32LE(name.length, 16);
    // The type as in a directory entry of the kernel: the mode's upper bits.
    part.writeUInt32LE(entry.kind === "directory" ? 4 : 8, 20);
    name.copy(part, 24);
    if (sizeBytes + part.length > sizeBytesMax) break;
    sizeBytes += part.length;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
