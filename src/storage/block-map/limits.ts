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
