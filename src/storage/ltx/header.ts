import {
  checksumFlag,
  damagedLtx,
  headerProblem,
  headerSizeBytes,
  magic,
  noChecksumFlag,
  trailerSizeBytes,
  type LtxHeader,
  type LtxTrailer,
} from "./format.ts";

/**
 * The header's 100 bytes, big-endian like everything fixed in LTX.
 *
 * | offset | size | field                         |
 * |      0 |    4 | magic "LTX1"                  |
 * |      4 |    4 | flags: 2 = no checksums       |
 * |      8 |    4 | page size                     |
 * |     12 |    4 | database size in pages after  |
 * |     16 |    8 | first transaction             |
 * |     24 |    8 | last transaction              |
 * |     32 |    8 | timestamp, ms since the epoch |
 * |     40 |    8 | pre-apply checksum            |
 * |     48 |    8 | offset in the log             |
 * |     56 |    8 | size in the log               |
 * |     64 |    8 | the log's two salts           |
 * |     72 |    8 | node id                       |
 * |     80 |   20 | zeros                         |
 */
export function encodeHeader(header: LtxHeader): Uint8Array {
  const problem = headerProblem(header);
  if (problem !== null) throw new RangeError(`not an LTX header: ${problem}`);
  const bytes = new Uint8Array(headerSizeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, header.tracksChecksums ? 0 : noChecksumFlag);
  view.setUint32(8, header.pageSizeBytes);
  view.setUint32(12, header.commitPages);
  view.setBigUint64(16, BigInt(header.minTxid));
  view.setBigUint64(24, BigInt(header.maxTxid));
  view.setBigInt64(32, BigInt(header.timestampMs));
  view.setBigUint64(40, header.preApplyChecksum);
  view.setBigInt64(48, BigInt(header.walOffset));
  view.setBigInt64(56, BigInt(header.walSize));
  view.setUint32(64, header.walSalt1);
  view.setUint32(68, header.walSalt2);
  view.setBigUint64(72, header.nodeId);
  return bytes;
}

/**
 * Reads the header at the beginning of a file; more bytes may follow.
 * @throws SpriteError storage_failure when it is none, or one that breaks the format's rules
 */
export function readHeader(bytes: Uint8Array): LtxHeader {
  if (bytes.length < headerSizeBytes) throw damagedLtx("it has no header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerSizeBytes);
  if (view.getUint32(0) !== magic) throw damagedLtx("it does not begin with LTX1");
  const flags = view.getUint32(4);
  if ((flags & ~noChecksumFlag) !== 0) throw damagedLtx(`unknown flags ${flags}`);
  const header: LtxHeader = {
    tracksChecksums: flags === 0,
    pageSizeBytes: view.getUint32(8),
    commitPages: view.getUint32(12),
    minTxid: Number(view.getBigUint64(16)),
    maxTxid: Number(view.getBigUint64(24)),
    timestampMs: Number(view.getBigInt64(32)),
    preApplyChecksum: view.getBigUint64(40),
    walOffset: Number(view.getBigInt64(48)),
    walSize: Number(view.getBigInt64(56)),
    walSalt1: view.getUint32(64),
    walSalt2: view.getUint32(68),
    nodeId: view.getBigUint64(72),
  };
  const problem = headerProblem(header);
  if (problem !== null) throw damagedLtx(problem);
  return header;
}

export function encodeTrailer(trailer: LtxTrailer): Uint8Array {
  const bytes = new Uint8Array(trailerSizeBytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, trailer.postApplyChecksum);
  view.setBigUint64(8, trailer.fileChecksum);
  return bytes;
}

/** Reads the last 16 bytes of a file. */
export function readTrailer(bytes: Uint8Array): LtxTrailer {
  const start = bytes.length - trailerSizeBytes;
  if (start < 0) throw damagedLtx("it has no trailer");
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, trailerSizeBytes);
  const fileChecksum = view.getBigUint64(8);
  if ((fileChecksum & checksumFlag) === 0n) throw damagedLtx("it has no checksum");
  return { postApplyChecksum: view.getBigUint64(0), fileChecksum };
}
