import { damagedLtx } from "./format.ts";
import { pageSizeBytesMax } from "./limits.ts";

/**
 * Raw LZ4 blocks of at most 64 KiB, after the public description of the block format.
 *
 * A block is a row of sequences: a token (high nibble: count of literals, low nibble: match length - 4, 15
 * means that more bytes follow, each added, until one is not 255), the literals, and the match's distance as
 * u16 little-endian. The last sequence has literals only: the last 5 bytes are always literals, and no
 * match begins within the last 12.
 */

const matchLengthMin = 4;
const lastLiteralsSizeBytes = 5;
const matchStartLimitSizeBytes = 12;
const hashBits = 12;
/** After 2^6 positions without a match the search takes two steps at once, and so on. */
const skipStrength = 6;
/** Shorter runs are copied faster by a loop than by a call. */
const loopCopySizeBytesMax = 24;

/** How large a block can get that does not compress. */
export function lz4BlockSizeBytesMax(sizeBytes: number): number {
  return sizeBytes + Math.floor(sizeBytes / 255) + 16;
}

/** Compresses one page after the other; keeps nothing between two calls but the memory. */
export class Lz4BlockCompressor {
  // Blocks are so small that every position but the last fits: 0 stands for "none" and for position 0,
  // and a candidate is compared before it is believed.
  readonly #positions = new Uint16Array(1 << hashBits);

  /** Writes the block at the buffer's start, which has `lz4BlockSizeBytesMax` bytes; returns its length. */
  compress(input: Uint8Array, output: Uint8Array): number {
    if (input.length > pageSizeBytesMax) throw new RangeError("an LZ4 block holds one page");
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    const positions = this.#positions;
    positions.fill(0);
    const matchStartEnd = input.length - matchStartLimitSizeBytes;
    const matchEnd = input.length - lastLiteralsSizeBytes;
    let written = 0;
    let literalsStart = 0;
    let at = 1;
    let attempts = 1 << skipStrength;
    while (at <= matchStartEnd) {
      const word = view.getInt32(at, true);
      const slot = Math.imul(word, 0x9e37_79b1) >>> (32 - hashBits);
      let candidate = positions[slot] ?? 0;
      positions[slot] = at;
      if (view.getInt32(candidate, true) !== word) {
        at += attempts++ >>> skipStrength;
        continue;
      }
      while (at > literalsStart && candidate > 0 && input[at - 1] === input[candidate - 1]) {
        at--;
        candidate--;
      }
      let end = at + matchLengthMin;
      const distance = at - candidate;
      while (end < matchEnd && input[end] === input[end - distance]) end++;
      written = writeSequence(output, written, input, literalsStart, at, end - at, distance);
      at = end;
      literalsStart = end;
      attempts = 1 << skipStrength;
      // One position within the match is enough to find the next repetition of what was just seen.
      if (at <= matchStartEnd) {
        const inside = Math.imul(view.getInt32(at - 2, true), 0x9e37_79b1) >>> (32 - hashBits);
        positions[inside] = at - 2;
      }
    }
    return writeSequence(output, written, input, literalsStart, input.length, 0, 0);
  }
}

/** Writes literals and a match; a match of length 0 is the block's end. */
function writeSequence(
  output: Uint8Array,
  start: number,
  input: Uint8Array,
  literalsStart: number,
  literalsEnd: number,
  matchLength: number,
  distance: number,
): number {
  const literalCount = literalsEnd - literalsStart;
  const extraLength = matchLength - matchLengthMin;
  const isLast = matchLength === 0;
  let at = start;
  output[at++] = (Math.min(literalCount, 15) << 4) | (isLast ? 0 : Math.min(extraLength, 15));
  if (literalCount >= 15) at = writeLength(output, at, literalCount - 15);
  if (literalCount <= loopCopySizeBytesMax) {
    for (let from = literalsStart; from < literalsEnd; from++) output[at++] = input[from] ?? 0;
  } else {
    output.set(input.subarray(literalsStart, literalsEnd), at);
    at += literalCount;
  }
  if (isLast) return at;
  output[at++] = distance & 0xff;
  output[at++] = distance >>> 8;
  return extraLength >= 15 ? writeLength(output, at, extraLength - 15) : at;
}

function writeLength(output: Uint8Array, start: number, length: number): number {
  let at = start;
  let rest = length;
  for (; rest >= 255; rest -= 255) output[at++] = 255;
  output[at++] = rest;
  return at;
}

/**
 * Inflates one block into `output` from `outputStart` on; returns where it ended. A match may reach back to the
 * output's start.
 * @throws SpriteError storage_failure when the block does not end with its input, or leaves the output
 */
export function inflateLz4Block(input: Uint8Array, output: Uint8Array, outputStart = 0): number {
  const inputEnd = input.length;
  const outputEnd = output.length;
  let from = 0;
  let to = outputStart;
  while (from < inputEnd) {
    const token = input[from++] ?? 0;
    let literalCount = token >>> 4;
    if (literalCount === 15) {
      let extra = 255;
      while (extra === 255) {
        if (from >= inputEnd) throw damagedLtx("an LZ4 block ends within a length");
        extra = input[from++] ?? 0;
        literalCount += extra;
      }
    }
    const literalsEnd = from + literalCount;
    if (literalsEnd > inputEnd) throw damagedLtx("an LZ4 block ends within literals");
    if (to + literalCount > outputEnd) throw damagedLtx("an LZ4 block holds more than a page");
    if (literalCount > loopCopySizeBytesMax) {
      output.set(input.subarray(from, literalsEnd), to);
      to += literalCount;
      from = literalsEnd;
    } else {
      while (from < literalsEnd) output[to++] = input[from++] ?? 0;
    }
    if (from === inputEnd) return to;
    if (from + 2 > inputEnd) throw damagedLtx("an LZ4 block ends within a distance");
    const distance = (input[from++] ?? 0) | ((input[from++] ?? 0) << 8);
    if (distance === 0 || distance > to) throw damagedLtx("an LZ4 match begins before the page");
    let matchLength = token & 15;
    if (matchLength === 15) {
      let extra = 255;
      while (extra === 255) {
        if (from >= inputEnd) throw damagedLtx("an LZ4 block ends within a length");
        extra = input[from++] ?? 0;
        matchLength += extra;
      }
    }
    matchLength += matchLengthMin;
    if (to + matchLength > outputEnd) throw damagedLtx("an LZ4 block holds more than a page");
    to = copyMatch(output, to, matchLength, distance);
  }
  // A block ends with literals, if only none: one that ends behind a match was cut off.
  throw damagedLtx("an LZ4 block has no end");
}

/** Repeats what was written `distance` bytes ago; source and target may overlap. Returns the new end. */
function copyMatch(output: Uint8Array, start: number, length: number, distance: number): number {
  const end = start + length;
  if (length <= loopCopySizeBytesMax) {
    for (let at = start; at < end; at++) output[at] = output[at - distance] ?? 0;
  } else if (distance === 1) {
    output.fill(output[start - 1] ?? 0, start, end);
  } else {
    // Each round copies what is there, so the part that can be copied at once doubles.
    let at = start;
    while (at < end) {
      const available = at - start + distance;
      const size = Math.min(available, end - at);
      output.copyWithin(at, start - distance, start - distance + size);
      at += size;
    }
  }
  return end;
}
