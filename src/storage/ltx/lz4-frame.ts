import { damagedLtx } from "./format.ts";
import { legacyFrameSizeBytesMax } from "./limits.ts";
import { inflateLz4Block } from "./lz4-block.ts";

/**
 * LZ4 frames, in which LTX files from before 2026 keep their pages; read only. After the public description of
 * the frame format, version 1: magic, flags, block size, then blocks with a length each, then a length of zero.
 * The frame's own checksums are passed over: the LTX file's covers the page.
 */
const magicBytes = [0x04, 0x22, 0x4d, 0x18];
const descriptorStart = 4;
const uncompressedFlag = 0x8000_0000;

/** The frame's length when it is whole, or null when more bytes are needed to tell. */
export function lz4FrameLength(bytes: Uint8Array): number | null {
  return walkFrame(bytes, () => {});
}

/** Inflates the frame's blocks one after the other into `output`; returns how many bytes they were. */
export function inflateLz4Frame(frame: Uint8Array, output: Uint8Array): number {
  let at = 0;
  const length = walkFrame(frame, (block, isCompressed) => {
    if (isCompressed) {
      at = inflateLz4Block(block, output, at);
      return;
    }
    if (at + block.length > output.length) throw damagedLtx("an LZ4 frame holds more than a page");
    output.set(block, at);
    at += block.length;
  });
  if (length !== frame.length) throw damagedLtx("an LZ4 frame is not complete");
  return at;
}

function walkFrame(
  bytes: Uint8Array,
  visit: (block: Uint8Array, isCompressed: boolean) => void,
): number | null {
  if (magicBytes.some((byte, at) => at < bytes.length && bytes[at] !== byte)) {
    throw damagedLtx("a page is no LZ4 frame");
  }
  const flags = bytes[descriptorStart];
  if (flags === undefined) return null;
  if (flags >>> 6 !== 1 || (flags & 2) !== 0) throw damagedLtx("an LZ4 frame of another version");
  if ((flags & 1) !== 0) throw damagedLtx("an LZ4 frame that needs a dictionary");
  const hasContentSize = (flags & 8) !== 0;
  const blockChecksumSizeBytes = (flags & 16) !== 0 ? 4 : 0;
  const contentChecksumSizeBytes = (flags & 4) !== 0 ? 4 : 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Flags, block size, content size, and one byte of checksum over them.
  let at = descriptorStart + 2 + (hasContentSize ? 8 : 0) + 1;
  while (at + 4 <= bytes.length) {
    const field = view.getUint32(at, true);
    at += 4;
    if (field === 0) {
      const end = at + contentChecksumSizeBytes;
      return end <= bytes.length ? end : null;
    }
    const isCompressed = field < uncompressedFlag;
    const end = at + (isCompressed ? field : field - uncompressedFlag);
    if (end > legacyFrameSizeBytesMax) throw damagedLtx("an LZ4 frame is too long for a page");
    if (end + blockChecksumSizeBytes > bytes.length) return null;
    visit(bytes.subarray(at, end), isCompressed);
    at = end + blockChecksumSizeBytes;
  }
  if (at > legacyFrameSizeBytesMax) throw damagedLtx("an LZ4 frame is too long for a page");
  return null;
}
