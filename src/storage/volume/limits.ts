/** The times and sizes of a volume. */

/**
 * How far back a volume's metadata can be restored, and so how long a segment stays in the bucket that nothing
 * names any more: each of those states has its segments. Forks begin from such a state.
 */
export const retentionMsDefault = 15 * 60_000;
/** How long the state before a restore is kept. */
export const preRestoreAgeMsMax = 24 * 60 * 60_000;
/** How often garbage is looked for: it asks the bucket for forks. */
export const collectIntervalMs = 60_000;
/** How often the bucket is tidied up. */
export const garbageIntervalMs = 10_000;
export const uploadsAtOnceMax = 4;
/** A reader at random with 32 requests under way gets them all at once; those who read ahead keep to fewer. */
export const fetchesAtOnceMax = 32;
/** One fetch takes neighbours of a segment along up to this size. */
export const fetchSizeBytesMax = 2 * 1024 * 1024;
/** Memory of that size kept for the next fetches, and for how long after the last. */
export const fetchBuffersMax = 8;
export const fetchBufferIdleMs = 2_000;
/** Slices of a segment that lie so near to each other are fetched together: bytes are cheaper than a request. */
export const fetchGapBlocksMax = 16;
/** Units that one fetch brings, when they lie next to each other: as much as `fetchSizeBytesMax`. */
export const fetchUnitsMax = 32;
/** So many of a boot's first units (2 MiB) are fetched, into memory, while a volume is being taken. */
export const earlyUnitsMax = 32;
/** A boot list is worth storing from so many units on. */
export const bootUnitsMin = 8;
/** It is stored again when less than this share of it was in the one before. */
export const bootKeptRatio = 0.75;
/** Readers that are followed at a time, each going through the disk in order. */
export const streamsMax = 4;
/** Units fetched ahead of such a reader: at first, and at most (32 MiB). It doubles as the reader goes on. */
export const aheadUnitsMin = 16;
export const aheadUnitsMax = 512;
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
/**
 * How long a guest's read waits while the bucket is away, and the pauses between the attempts. After two minutes the kernel
 * would begin to complain of programs that hang.
 */
export const readPatienceMs = 100_000;
export const readRetryMsMin = 100;
export const readRetryMsMax = 2_000;
/** Space that eviction makes for a write when the local disk is full. */
export const roomForWriteBytes = 64 * 1024 * 1024;
/** How long a write waits for a full disk to be emptied by a cut before the guest gets ENOSPC. */
export const roomWaitMsMax = 2_000;
/** A small one waits longer: it may be the journal's. */
export const smallRoomWaitMsMax = 30_000;
export const roomPollMs = 20;
/** An import writes this much at a time. */
export const importPieceBytes = 1024 * 1024;
/** How often and how long an import looks whether another server has finished the same one. */
export const importLookMs = 2_000;
export const importWaitMsMax = 10 * 60_000;
/** How long a restore waits for the bucket to have it; the sprite is down meanwhile. */
export const restoreStoreTimeoutMs = 3_000;

/** Segments that wait for the bucket and are kept open, in case their names are deleted. */
export const openStagedFilesMax = 512;

/** How often a restore makes a cut before it: the caller has detached the disk, so one is enough unless it is taken back. */
export const cleanTriesMax = 3;

/** Ids under which local state was stored: one for every opening that did not end. */
export const writersMax = 16;
/** How often a map is fetched again because its former holder has written meanwhile. */
export const fenceTriesMax = 5;
/** Files of the chain that a head names; of a longer chain it names none. */
export const headFilesMax = 400;
/** How often a fork reads its source's map anew, which is being merged meanwhile. */
export const forkTriesMax = 5;
/** Maps of which the chain is larger than this are read in place while they are fetched; fetching others takes no longer. */
export const inPlaceSizeBytesMin = 512 * 1024;
/** Leaves and names of segments kept of a map that is read in place. */
export const remoteLeavesMax = 2_048;
/** Cuts of which the time is remembered at which they reached the bucket. */
export const syncTimesMax = 2_000;

/** How deep a cause is looked for: an error that causes itself must not hold up a read. */
export const errorCausesMax = 5;
