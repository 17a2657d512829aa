/** What S3 allows for a key, in bytes; keys are ASCII. */
export const keyLengthMax = 1_024;

/** A draft this old belongs to a writer that died: a live one writes to its draft all the time. */
export const draftAgeMsMax = 15 * 60 * 1_000;

/** The lock on a directory is held for a rename and an fsync; a wait this long means a sick disk. */
export const lockWaitMsMax = 30_000;
export const lockRetryDelayMsMin = 1;
export const lockRetryDelayMsMax = 20;

/** A directory can vanish between being made and being used, when somebody deletes its prefix. */
export const directoryAttemptsMax = 5;

/** Directories that one `deleteMany` works on at a time. */
export const deleteConcurrencyMax = 8;

/** Directories whose entry in the parent is known to be synced; beyond it they are synced once more. */
export const syncedDirectoriesMax = 10_000;

export const copyBufferSizeBytes = 1024 * 1024;

// The rest is about buckets in S3.

/** Temporary credentials are asked for anew so long before they expire: a large upload must end in time. */
export const credentialsRefreshMs = 5 * 60 * 1_000;

/** On a machine without a metadata service every start without credentials waits this long, up to three times. */
export const metadataTimeoutMs = 1_000;
export const metadataBodySizeBytesMax = 64 * 1024;

/** A connection on which nothing moves for so long, in either direction, is given up. Connecting counts. */
export const connectionIdleMsMax = 15_000;
export const connectionsMax = 32;

/** A reply that announces more is collected as it comes: nobody's word is enough to set aside that much. */
export const preparedSizeBytesMax = 64 * 1024 * 1024;

/** For a call whose caller sets no deadline; what retries is a store that fails, and its callers retry for as long as they like. */
export const callDeadlineMsDefault = 60_000;
export const attemptsMax = 8;
export const retryDelayMsMin = 50;
export const throttledDelayMsMin = 400;
export const retryDelayMsMax = 5_000;

/**
 * Retries that all calls of a store together have in hand, and how many a success gives back: in an outage the
 * store is asked once a call, not eight times.
 */
export const retryTokensMax = 100;
export const retryTokensPerSuccess = 0.2;

/** How long a store is asked what became of a write after all attempts to make it have failed. */
export const lastQuestionDeadlineMs = 5_000;

/** First bytes measured before a second request is sent for a slow one, and kept to judge what slow is. */
export const hedgeSamplesMin = 16;
export const hedgeSamplesMax = 64;
export const hedgeQuantile = 0.95;
export const hedgeDelayMsMin = 20;
export const hedgeDelayMsMax = 2_000;

/** Second requests for a hundred reads, and how many may come in a row. */
export const hedgesPerRead = 0.05;
export const hedgesInRowMax = 5;

/** What S3 takes in one request: keys in a batch delete, bytes in a PUT. */
export const deleteBatchMax = 1_000;
export const putSizeBytesMax = 5 * 1024 ** 3;

/** An error's body is read up to here. */
export const errorBodySizeBytesMax = 64 * 1024;

/** The probe at start: for each of its some 25 requests, and how many writers race in it. */
export const probeDeadlineMs = 20_000;
export const probeRacers = 4;
