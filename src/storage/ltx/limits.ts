/** Page sizes that SQLite knows, and so LTX. */
export const pageSizeBytesMin = 512;
export const pageSizeBytesMax = 65_536;

/** Page numbers are 32 bits in LTX; SQLite itself stops one earlier, at 2^32 - 2 pages. */
export const pageCountMax = 2 ** 32 - 2;

/** Legacy pages are LZ4 frames of their own; a frame that has not ended by this size never will. */
export const legacyFrameSizeBytesMax = 2 * pageSizeBytesMax;

/** A merge hands its output on when this much has gathered. */
export const compactedPieceSizeBytes = 256 * 1024;
