/**
 * Where the residency log lies: behind the disk's last block in the cache file, so that one sync makes
 * both durable. Two areas take turns (docs/formats/residency-log.md); the one with the newest readable header counts.
 */
import { readSync } from "node:fs";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { areaRecordsMin, areaRecordsPerUnit } from "./limits.ts";
import { decodeHeader, headerSizeBytes, type LogHeader, recordSizeBytes } from "./residency-log.ts";

export type AreaIndex = 0 | 1;

function areaUnits(unitCount: number): number {
  const records = areaRecordsMin + areaRecordsPerUnit * unitCount;
  return Math.ceil((headerSizeBytes + records * recordSizeBytes) / unitSizeBytes);
}

/** In units, from the file's beginning. */
export function areaStartUnits(unitCount: number, area: AreaIndex): number {
  return unitCount + area * areaUnits(unitCount);
}

export function areaSizeBytes(unitCount: number): number {
  return areaUnits(unitCount) * unitSizeBytes;
}

export function areaRecordsMax(unitCount: number): number {
  return Math.floor((areaSizeBytes(unitCount) - headerSizeBytes) / recordSizeBytes);
}

export interface FoundLog {
  area: AreaIndex;
  header: LogHeader;
}

/** The log that counts, or null when neither area begins with a header. */
export function findLog(blocks: number, unitCount: number): FoundLog | null {
  const bytes = Buffer.alloc(headerSizeBytes);
  let newest: FoundLog | null = null;
  for (const area of [0, 1] as const) {
    const at = areaStartUnits(unitCount, area) * unitSizeBytes;
    const read = readSync(blocks, bytes, 0, headerSizeBytes, at);
    const header = decodeHeader(bytes.subarray(0, read));
    if (header === null || (newest !== null && newest.header.generation > header.generation))
      continue;
    newest = { area, header };
  }
  return newest;
}
