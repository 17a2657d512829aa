/**
 * Whether a closed map is still what it was. SQLite has no checksums in its pages, and a map that lost one
 * bit reads zeros, or another unit, where the guest had data.
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";

const pieceSizeBytes = 1024 * 1024;

/**
 * Of the whole file: its size and its CRC-32; null when there is none. Tens of MB at most, at more than a GB
 * a second.
 */
export function checkOfMap(path: string): string | null {
  if (!existsSync(path)) return null;
  const file = openSync(path, "r");
  try {
    const piece = Buffer.alloc(pieceSizeBytes);
    let check = 0;
    let sizeBytes = 0;
    for (;;) {
      const read = readSync(file, piece, 0, piece.length, sizeBytes);
      if (read === 0) return `${sizeBytes}:${check.toString(16).padStart(8, "0")}`;
      check = crc32(piece.subarray(0, read), check);
      sizeBytes += read;
    }
  } finally {
    closeSync(file);
  }
}
