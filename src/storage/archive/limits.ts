/** Every bound of archives. */

/** The longest section: a segment, or a part of the map. */
export const sectionSizeBytesMax = 8 * 1024 * 1024;
export const headerSizeBytesMax = 4 * 1024;
/** The map goes in parts of this size. */
export const mapPartSizeBytes = 4 * 1024 * 1024;
/** Leaves that are read before others get their turn on the thread. */
export const leavesAtOnce = 64;
/** A disk's agent holds 16 bytes of memory for each 64 KiB of it. */
export const archivedDiskSizeBytesMax = 1024 ** 4;
