/** Segments that one call hands out for deletion: the most that one S3 request can delete. */
export const garbageCountMax = 1_000;

/** A map copy that claims to be larger than this is damaged, not large: 100 GB need about 40 MB. */
export const mapSizeBytesMax = 4 * 1024 * 1024 * 1024;

/**
 * A cut stores a whole unit when it would get more slices than this, if all of it is in the cache. Each is a
 * request when the unit is read cold, and each new one costs the map 13 bytes; but storing the unit whole
 * costs up to 16 blocks. Writes of single blocks at random places then write 2.7 blocks each at worst.
 */
export const slicesPerUnitMax = 9;
/** Dirty blocks from which on the whole unit is stored, if all of it is in the cache: at most twice as much. */
export const wholeUnitBlocksMin = 8;

/** Segments of which less than this is in use are stored again. */
export const rewriteLiveShareMax = 0.3;
/** Of so many at a time. */
export const rewriteSegmentsMax = 256;
/**
 * So are segments up to this size, when there are at least so many of them: a disk that is written a little
 * every second would have 86,400 of them after a day.
 */
export const smallSegmentBytesMax = 256 * 1024;
export const smallSegmentsMin = 64;
/** Units in so many slices are stored again in one. */
export const collapsedSlicesMin = 6;
/** Pieces read at a time while a rewrite is prepared: each takes a unit's memory meanwhile. */
export const rewriteBatchPieces = 64;
/** Leaves looked through before requests of the guest get their turn: some 2 ms. */
export const leavesScannedAtOnce = 128;
/** How often that is looked for while the disk changes, and how much is stored again at a time. */
export const rewriteIntervalMs = 60_000;
export const rewriteBytesMax = 8 * 1024 * 1024;
