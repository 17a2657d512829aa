/** Every bound of this room. */

/** Host ids of one sprite: its whole 16-bit id space. */
export const hostIdsPerSprite = 65_536;

/** Output that a command may return; what comes after is dropped and the command is reported as failed. */
export const commandOutputBytesMax = 16 * 1024 * 1024;

/** Part of a failed command's standard error that goes into the error's message. */
export const errorTextCharactersMax = 400;

/** A frozen file system thaws by itself after this long, whatever happened to the one who froze it. */
export const freezeTimeMsMax = 500;

/** Pause between two attempts of the watchdog to thaw. */
export const thawRetryMs = 20;

/** One line of the helper's protocol. */
export const helperLineBytesMax = 1024 * 1024;

/** Free loop devices are raced for by everybody on the machine: attempts before giving up. */
export const loopAttachAttemptsMax = 50;

/**
 * Time that a helper gets to load the C library and answer its first request, beyond the request's
 * own deadline.
 */
export const helperStartMsMax = 5_000;

/** A FUSE connection whose requests wait at each of these looks is served by nobody. */
export const hangLooks = 6;
export const hangLookIntervalMs = 500;

/** Deadline of a helper's operation that changes no more than tables in memory. */
export const operationDeadlineMs = 10_000;

/**
 * Deadline of one that reads from a disk, whose blocks may come from far away: mounting replays a
 * journal.
 */
export const diskReadDeadlineMs = 60_000;

/** Deadline of one that writes back all that a guest has dirtied. */
export const diskFlushDeadlineMs = 300_000;

/** Time for a helper to end by itself once its standard input has closed. */
export const helperCloseMsMax = 1_000;

/** A helper that nobody has asked anything for this long ends; the next operation starts another. */
export const helperIdleMsMax = 5_000;

/** Making a file system, whose bitmaps may have to travel far. */
export const formatMsMax = 60_000;
/** One file system, whose structures may have to come from the bucket. */
export const checkMsMax = 300_000;

/** An OCI runtime that does not tell its version within this time counts as not installed. */
export const runtimeVersionMsMax = 10_000;

/** From the start of unshare(1) until it is in its new user namespace, and how often to look. */
export const namespaceEnterMsMax = 5_000;
export const namespaceEnterPollMs = 1;

/** Listening sockets of one guest that are looked at; a sprite with more has no use for a list of them. */
export const listeningSocketsMax = 1_024;

/** How long processes of a cgroup have to stop, and how often that is looked for. */
export const freezeMsMax = 3_000;
export const freezePollMs = 2;
