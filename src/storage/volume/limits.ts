/** The times and sizes of a volume. */

/**
 * A segment that nothing names any more stays in the bucket for this long: a reader may be about to
 * fetch it.
 */
export const garbageGraceMs = 60_000;
/** How often the bucket is cleaned. */
export const garbageIntervalMs = 10_000;
/** Copies of the map that the bucket keeps: the newest and those before it. */
export const mapCopiesMax = 3;
export const uploadsAtOnceMax = 4;
/** A reader at random with 32 requests under way gets them all at once; those who read ahead keep to fewer. */
export const fetchesAtOnceMax = 32;
/** One fetch takes neighbours of a segment along up to this size. */
export const fetchSizeBytesMax = 1024 * 1024;
/** Slices of a segment that lie so near to each other are fetched together: bytes are cheaper than a request. */
export const fetchGapBlocksMax = 16;
/** Units that one fetch brings, when they lie next to each other: as much as `fetchSizeBytesMax`. */
export const fetchUnitsMax = 16;
/** Readers that are followed at a time, each going through the disk in order. */
export const streamsMax = 4;
/** Units fetched ahead of such a reader: at first, and at most (16 MiB). It doubles as the reader goes on. */
export const aheadUnitsMin = 16;
export const aheadUnitsMax = 256;
/** Fetches that nobody waits for yet, at a time. */
export const aheadFetchesMax = 8;
/** Ranges that wait for one. */
export const aheadQueueMax = 16;
/** Content of checkpoints kept in memory while one is shown. */
export const checkpointCacheUnitsMax = 64;
/** After a failed attempt to store: the first pause, doubled up to the last, each with jitter. */
export const retryMsMin = 250;
export const retryMsMax = 30_000;
/**
 * Closing waits for the bucket no longer than this; what is not stored then is stored after the
 * next open.
 */
export const closeTimeoutMs = 5_000;
/** The capture of a cut lets requests of the guest in after so many units. */
export const captureBatchUnits = 16;
/** A read is tried again this often when eviction takes units between fetch and read. */
export const readAttemptsMax = 100;
/** Space that eviction makes for a write when the local disk is full. */
export const roomForWriteBytes = 64 * 1024 * 1024;
/** An import writes this much at a time. */
export const importPieceBytes = 1024 * 1024;
/** How long a restore waits for the bucket to have it; the sprite is down meanwhile. */
export const restoreStoreTimeoutMs = 3_000;

/** Segments that wait for the bucket and are kept open, in case their names are deleted. */
export const openStagedFilesMax = 512;

/** How often a restore makes a cut before it: the caller has detached the disk, so one is enough unless it is taken back. */
export const cleanTriesMax = 3;
