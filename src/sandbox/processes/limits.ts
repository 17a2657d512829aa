/** Every bound of starting commands, with its reason. */

/**
 * FIFO sets made by one helper process; a fork of the agent costs milliseconds, a FIFO
 * microseconds.
 */
export const fifoBatchSize = 64;
/**
 * Sets made while a container is prepared: a batch would hold its start up where the run directory
 * is no tmpfs.
 */
export const fifoFirstBatchSize = 4;
/** A new batch is begun when fewer sets than this are left. */
export const fifoReserveMin = 32;
export const fifoBatchTimeoutMs = 10_000;

/** How long a spawner may take to enter the container: 50 ms on a quiet machine. */
export const spawnerStartTimeoutMs = 20_000;
/**
 * From the request until the command has its process id; long, since a machine may be very busy.
 */
export const launchTimeoutMs = 30_000;
/** A launch whose spawner died before it had begun is tried again with a new one. */
export const launchAttemptsMax = 3;
/**
 * Ended waiters are reaped this long after the last command's end, so that a burst is reaped once.
 */
export const reapDelayMs = 20;

/** A status line is about 20 bytes; more is no status line. */
export const statusLineBytesMax = 256;

/**
 * The first zygote is started this long after the container, so that it doesn't delay the first
 * command.
 */
export const zygoteDelayMs = 300;
/**
 * Whoever opened one terminal often opens another; the command that was just started goes first,
 * though.
 */
export const zygoteRefillDelayMs = 50;
export const zygoteStartTimeoutMs = 20_000;
/**
 * How often to look whether a terminal's process has ended while something else holds the terminal.
 */
export const terminalPollMs = 100;
/** How long others may hold an ended command's terminal before it is closed. */
export const terminalHeldGraceMs = 300;

export const runtimeCallTimeoutMs = 20_000;
/** What the runtime takes at most to pass a new terminal size on; input sent after it waits that long. */
export const resizeRelayMs = 40;

/** Of the kernel's table of TCP sockets: a thousand listeners. */
export const listenersTextBytesMax = 150 * 1024;

/** How old a look at the machine's processes may be when it is used again. */
export const relationsAgeMsMax = 5;
