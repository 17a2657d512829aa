/** Every bound of sessions, with its reason. */

/** What a later client is shown of a session's past (contract.md section 3.6). */
export const scrollbackSizeBytesMax = 1024 * 1024;
/** Small writes are gathered into segments of this size, since each one costs an object. */
export const scrollbackSegmentSizeBytes = 16 * 1024;
/** A program that alternates between its streams byte by byte fills segments badly. */
export const scrollbackSegmentsMax = 8_192;

/**
 * Sessions that run or begin at one time; each one holds up to a scrollback and a few descriptors.
 */
export const sessionsMax = 1_000;
/** Ended sessions whose ids are remembered, to tell "has ended" from "never was". */
export const endedSessionIdsMax = 1_024;

/** Output that waits for the client who sets the pace. Beyond it the command is held back. */
export const clientQueueBytesMax = 1024 * 1024;
/**
 * An observer that is this far behind is dropped; it could not be caught up from the scrollback
 * either.
 */
export const observerLagBytesMax = scrollbackSizeBytesMax;

/** What waits for a client, its output included, when another notice is one too many. */
export const noticeLagBytesMax = 2 * clientQueueBytesMax;

/** How long to wait for more output of an ended command whose pipes others hold. */
export const drainQuietMs = 300;
/** The same while they keep writing. */
export const drainMsMax = 500;

/** How long a command without a terminal outlives its last client. */
export const pipeRunAfterDisconnectMs = 10_000;
/** From the first signal to SIGKILL, for a command that outlived its time without a client. */
export const endGraceMs = 5_000;

/** The window over which a session's rate is measured. */
export const rateWindowSeconds = 5;
/** A session with traffic this recent counts as active. */
export const activityWindowMs = 5_000;
/** What clients of an agent that died get to come back to their sessions, however little they asked for. */
export const takenOverGraceMs = 60_000;
