/** Segment numbers reserved by one commit: a crash skips at most so many of four thousand million. */
export const segmentBatchCount = 64;

/** Segments that one call hands out for deletion: the most that one S3 request can delete. */
export const garbageCountMax = 1_000;

/** A map copy that claims to be larger than this is damaged, not large: 100 GB need about 40 MB. */
export const mapSizeBytesMax = 4 * 1024 * 1024 * 1024;
