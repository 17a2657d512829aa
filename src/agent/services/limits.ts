/** Every bound of services, with its reason. */

/** Each running one holds two FIFOs and two processes more than its own. */
export const servicesMax = 256;
/** All definitions together: read and written whole. */
export const servicesFileBytesMax = 1024 * 1024;

/** What is told of a damaged file in a header; the agent's log has all. */
export const problemLengthMax = 1_000;

/** How long a stream follows when its caller does not say (contract.md section 6). */
export const watchMsDefault = 5_000;
/** Followers of logs stay as long as they like; a timer of Node takes 24 days. */
export const watchMsMax = 2 ** 31 - 1;

/** From SIGTERM to SIGKILL when the caller does not say (contract.md section 6). */
export const stopMsDefault = 10_000;
export const stopMsMax = 3_600_000;
/** From SIGKILL to the end, which only a process stuck in the kernel exceeds. */
export const killedMsMax = 5_000;
/** How often to look whether the children of an ended service have ended, by the kernel's tables, and its strays. */
export const familyPollMs = 10;
export const strayPollMs = 100;
/** What the program inside that looks for strays may say: some 3,000 of them. */
export const strayPidsBytesMax = 64 * 1024;
/**
 * For all services together when their container ends: a worker waits 7.5 s for its agent
 * (worker/limits.ts), most of which belongs to the disk.
 */
export const stopAllMsMax = 2_500;
/** How much longer a service that is busy with something else may keep its container from ending, and so a log. */
export const endSlackMs = 500;

/** When a container ends while its services are still being read. */
export const loadedMsMax = 1_000;

/** The pause before the first restart doubles with each that follows. */
export const restartMsMin = 500;
export const restartMsMax = 60_000;
/** A process that lived this long is no crash loop: the next pause is the shortest again. */
export const steadyLifeMs = 10_000;

/** How long a service with a port may take until it listens, and how often to look. */
export const listenMsMax = 30_000;
export const listenPollMs = 10;

/** Short programs of ours inside: reading and writing one file. */
export const guestCommandMsMax = 15_000;
export const guestErrorBytesMax = 4_096;

/** What a line of the log holds at most; longer ones are cut into several. */
export const logLineLengthMax = 8_192;
/** Text without a line's end is told after this time, since it may be a question. */
export const partialLineMs = 200;
/** A file that has grown beyond this is put aside for the next; one such is kept. */
export const logFileBytesMax = 5 * 1024 * 1024;
/** What is written in one go. */
export const logBatchBytesMax = 256 * 1024;
/** From one write of a service's log to the next: what comes meanwhile is written together. */
export const logSpacingMs = 50;
/** What waits to be written of one service; beyond it the service's output is not read. */
export const logPendingBytesMax = 512 * 1024;
/** A write that takes longer has met a disk that hangs, or a guest that plays with the writer. */
export const logWriteMsMax = 15_000;
/** After a writer that failed, what comes in this time is dropped rather than tried. */
export const logRetryMs = 1_000;
/** A writer without work ends; the next line starts another. */
export const logWriterIdleMs = 30_000;

/** Lines of a log that are told when the caller does not say, and at most. */
export const logLinesDefault = 100;
export const logLinesMax = 100_000;
/** How far back a log is told: it goes through the agent's memory. The files hold more. */
export const logReadBytesMax = 2 * 1024 * 1024;
/** What the writer answers is a file's size. */
export const logAnswerLengthMax = 64;

/** What waits for a reader of a stream that is slower than the service; beyond it lines are skipped. */
export const streamQueueBytesMax = 256 * 1024;
/** Callers that watch or read at once; each holds at most the two bounds above. */
export const streamsMax = 150;
