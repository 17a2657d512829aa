/** The sizes and maxima of the chunk cache. */
import { blocksPerUnit } from "../block-map/geometry.ts";

/** A bit for each block of a unit. */
export const allBlocks = (1 << blocksPerUnit) - 1;

/** The residency log is compacted when it holds this many records (16 bytes each). */
export const logRecordsMax = 1_000_000;
/**
 * The log file is filled with zeros this far ahead, so that syncing a record changes no file-system
 * metadata.
 */
export const logReserveRecords = 16_384;
/** Room in that reserve which only the slow lane may use. */
export const logSlowLaneRecords = 4_096;
/** The log is read in pieces of this many records at open. */
export const logReadRecords = 16_384;

/** Eviction goes on until the cache is this part of its limit. */
export const evictionTargetRatio = 0.9;
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
