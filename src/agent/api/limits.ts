/** Every bound of the agent's server, with its reason. */

/** From the first byte of a request to the end of its headers. */
export const headersTimeoutMs = 60_000;
/** A connection without a request is kept this long for the next one. */
export const idleConnectionTimeoutMs = 60_000;
/** When the server closes: how long connections that remain may take to end by themselves. */
export const closeGraceMs = 1_000;
/**
 * After an answer to a request that was refused half-way: how long, and how much, its rest is still
 * read and dropped.
 */
export const refusedDrainMs = 2_000;
export const refusedDrainBytesMax = 64 * 1024 * 1024;

/** Query parameters of one request, and the bytes that they hold once decoded. */
export const queryParametersMax = 20_000;

/** The largest message of a client: the SDKs send whatever buffer the user wrote as one. */
export const messageSizeBytesMax = 128 * 1024 * 1024;
/**
 * Input that waits for a command before its client is no longer read. Signals behind it wait too,
 * so it is not small.
 */
export const inputQueueBytesMax = 1024 * 1024;
/**
 * JS gives up after 45 s without a message, however many pings there are (contract.md section 3.9).
 */
export const keepAliveIntervalMs = 15_000;
/** How long after our close frame a client may take to read what was queued before it. */
export const closeTimeoutMs = 120_000;
/** RFC 6455: a close frame's reason. */
export const closeReasonBytesMax = 123;
/**
 * A lone stdin end this soon after attaching to a terminal is a client that does not know the mode
 * yet.
 */
export const attachHazardMs = 1_000;
/** What one queued frame costs besides its bytes. */
export const queuedFrameCostBytes = 128;

/**
 * Bytes in a frame of HTTP exec: with its id and the eight bytes that its chunk adds, 16 KiB. Four
 * of them fill exactly one read of Node's client, which would otherwise cut every fourth in two and
 * take the rest for a frame of its own.
 */
export const httpFrameSizeBytesMax = 16 * 1024 - 9;
/**
 * JS tells frames apart by the reads in which they arrive (contract.md section 3.8), so each is
 * given time to be read alone. That bounds HTTP exec to some 3 MB/s; WebSockets have no such need.
 */
export const httpFrameGapMs = 4;
/**
 * Before the exit frame: it decides whether the command's end is believed at all, and comes once, so
 * even a client on a busy machine is given the time to have read what came before.
 */
export const httpExitGapMs = 25;

export const killTimeoutMsDefault = 10_000;
export const killTimeoutMsMax = 24 * 3_600_000;
/**
 * How long to wait for the end after SIGKILL, which only a process stuck in the kernel survives.
 */
export const killedWaitMs = 5_000;
