/** The maxima and pauses of replication. */

/** Above this size the log is folded into the database, once all of it is in the bucket. */
export const logSizeBytesMax = 4 * 1024 * 1024;
/** How much of a log is read at a time. */
export const logReadSizeBytes = 1024 * 1024;
