/**
 * Which units a closed map has, kept beside it (docs/formats/residency-log.md, "mapped.bits"): opening the volume
 * again need not walk the whole map. Only ever a hint: it is believed of just the file that it was made from, and
 * only if no bit of either has changed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";

const fileName = "mapped.bits";
const formatVersion = 1;
const newline = 10;
/** Of the line in front of the bits; more is no header. */
const headerSizeBytesMax = 256;

export class MappedUnits {
  /** The cut up to which it is right. */
  readonly lastCut: number;
  readonly #unitCount: number;
  /** A bit for each unit, the lowest of a byte first. */
  readonly #bits: Uint8Array;

  private constructor(parts: { lastCut: number; unitCount: number; bits: Uint8Array }) {
    this.lastCut = parts.lastCut;
    this.#unitCount = parts.unitCount;
    this.#bits = parts.bits;
  }

  /** Walks the map. */
  static of(map: BlockMap): MappedUnits {
    const unitCount = map.sizeBytes / unitSizeBytes;
    const bits = new Uint8Array(Math.ceil(unitCount / 8));
    map.forEachLiveUnit((unit) => {
      bits[unit >>> 3] = (bits[unit >>> 3] as number) | (1 << (unit & 7));
    });
    return new MappedUnits({ lastCut: map.lastCut, unitCount, bits });
  }

  /** Null unless it was made from just this map, whose file has that check (map-check.ts). */
  static read(directory: string, map: BlockMap, mapCheck: string): MappedUnits | null {
    let bytes: Buffer;
    let header: Partial<Record<"formatVersion" | "mapCheck" | "unitCount" | "check", unknown>>;
    try {
      bytes = readFileSync(join(directory, fileName));
      const end = bytes.subarray(0, headerSizeBytesMax).indexOf(newline);
      header = JSON.parse(bytes.subarray(0, end).toString()) as typeof header;
      bytes = bytes.subarray(end + 1);
    } catch {
      // Missing or torn: the map is walked.
      return null;
    }
    const unitCount = map.sizeBytes / unitSizeBytes;
    const isRight =
      header.formatVersion === formatVersion &&
      header.mapCheck === mapCheck &&
      header.unitCount === unitCount &&
      bytes.length === Math.ceil(unitCount / 8) &&
      header.check === crc32(bytes);
    return isRight ? new MappedUnits({ lastCut: map.lastCut, unitCount, bits: bytes }) : null;
  }

  /** For the map's file as it is now that it is closed. */
  save(directory: string, mapCheck: string): void {
    const check = crc32(this.#bits);
    const header = { formatVersion, mapCheck, unitCount: this.#unitCount, check };
    try {
      const line = Buffer.from(`${JSON.stringify(header)}\n`);
      writeFileSync(join(directory, fileName), Buffer.concat([line, this.#bits]), { mode: 0o600 });
    } catch {
      // On a full disk, or in a directory that was deleted: the map is walked once more.
    }
  }

  /** Calls back with every unit that the map has, ascending. */
  forEach(visit: (unit: number) => void): void {
    const bits = this.#bits;
    for (let at = 0; at < bits.length; at++) {
      const byte = bits[at] as number;
      if (byte === 0) continue;
      for (let bit = 0; bit < 8; bit++) {
        if ((byte & (1 << bit)) !== 0) visit(at * 8 + bit);
      }
    }
  }
}
