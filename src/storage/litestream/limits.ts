/** The maxima and pauses of replication. */

/** Above this size the log is folded into the database, once all of it is in the bucket. */
export const logSizeBytesMax = 4 * 1024 * 1024;
/** How much of a log is read at a time. */
export const logReadSizeBytes = 1024 * 1024;

/** Less than this is not worth a snapshot, however small the last one was. */
export const snapshotGrowthBytesMin = 1024 * 1024;
/** Superfluous files are deleted together, since the bucket is listed before. */
export const deletedFilesMin = 16;
/** While a snapshot is encoded, other work gets a turn after so many bytes of pages. */
export const encodeTurnSizeBytes = 1024 * 1024;
/** In a row: each attempt found the one before it, whose answer was lost. */
export const shipAttemptsMax = 4;
/** Recently shipped files that are kept in memory, to be merged without fetching them. */
export const recentFilesSizeBytesMax = 4 * 1024 * 1024;
/** Requests for headers that a restore to a time makes at once. */
export const headersAtOnceMax = 16;
/** How much of a file one request of a restore asks for. */
export const restoreReadSizeBytes = 4 * 1024 * 1024;
/** A file that was changed so recently may be changed again without showing it. */
export const logSettledMs = 50;

/** How often a database in other hands is looked at: what the machine's loss may cost. */
export const syncIntervalMs = 1_000;
export const maintenancePauseMsMin = 5_000;
export const maintenancePauseMsMax = 60_000;
/** After a failure; doubled with each further one. */
export const retryDelayMsMin = 1_000;
export const retryDelayMsMax = 60_000;
/** Databases that are shipped at the same time. */
export const databasesAtOnceMax = 8;
/** In which the last changes are shipped when the server stops, which it does within 10 s. */
export const drainTimeoutMs = 3_000;
/** For the thread to end after that. */
export const drainGraceMs = 1_000;
