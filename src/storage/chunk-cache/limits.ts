/** The sizes and maxima of the chunk cache. */
import { blocksPerUnit } from "../block-map/geometry.ts";

/** A bit for each block of a unit. */
export const allBlocks = (1 << blocksPerUnit) - 1;

/** The residency log is compacted when it holds this many records (16 bytes each). */
export const logRecordsMax = 1_000_000;
/**
 * The log is filled with zeros this far ahead, so that syncing a record changes no file-system
 * metadata.
 */
export const logReserveRecords = 16_384;
/**
 * Records that each of the two areas for the log has address space for: so many, and so many for each unit. A cut
 * that lasts makes at most two for each block that becomes valid by a write.
 */
export const areaRecordsMin = 65_536;
export const areaRecordsPerUnit = 64;
/** Room in that reserve which only the slow lane may use. */
export const logSlowLaneRecords = 4_096;
/** The log is read in pieces of this many records at open. */
export const logReadRecords = 16_384;

/** Eviction goes on until the cache is this part of its limit. */
export const evictionTargetRatio = 0.9;
/** The share of the disk that caches leave free, and the most that this comes to (20 GiB). */
export const freeRatioMin = 0.1;
export const freeBytesMinMax = 20 * 2 ** 30;
/** A volume gives back at most this share of its cache at a time when the disk has too little left. */
export const freeShareRatio = 0.25;
/** Below this share of what should stay free, writers are slowed: each write by so much at most. */
export const slowWriteBelowRatio = 0.25;
export const slowWriteMsMax = 100;
/** So much passes at full speed between two cuts. */
export const slowWriteDirtyBytesMin = 16 * 1024 * 1024;
/**
 * What of the disk is kept for small writes when it fills up, a share of it and at most so much: a guest's
 * file system whose journal fails turns read-only.
 */
export const headroomRatio = 1 / 16;
export const headroomBytesMax = 32 * 1024 * 1024;
/** Writes of this size are the file system's own, or do little harm. */
export const smallWriteBytesMax = 48 * 1024;
/** The fast lane looks how full the disk is after it has written so much. */
export const measureEveryBytes = 1024 * 1024;
/**
 * Units that eviction drops in one hold of the image lock: guests wait for no longer than these
 * punches take.
 */
export const evictionBatchUnits = 32;
/** Units that the eviction hand passes in one hold of the image lock. */
export const evictionScanUnits = 16_384;
/** Units that are remembered as the first that were read: what a boot needs. */
export const bootUnitsMax = 512;
/** Units that get their check in one turn of the scrub, which comes once a second. */
export const checksPerTurnMax = 256;
/** Units that get it in one hold of the image lock. */
export const checkBatchUnits = 8;
/** Units that one turn compares with the check they have. */
export const verificationsPerTurnMax = 1;
/** Closing a cache spends no longer on checks. */
export const checkAllMsMax = 500;
/** Units that one hold of the image lock trims: one leaf's worth. */
export const punchBatchUnits = 256;

/** Space kept back for the map's own commit when the disk is full. */
export const reserveSizeBytes = 2 * 1024 * 1024;
/** Caches set aside because they could not be trusted; older ones are deleted. */
export const orphansMax = 2;
