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
