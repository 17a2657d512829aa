/** Every bound of watching ports, with its reason. */

/** Between two looks while something happens, which costs a fifth of a millisecond. */
export const lookIntervalMs = 250;
/** A look that something gave cause for comes this much later, to see what is being done whole. */
export const soonLookMs = 50;
/** ... and while nothing has for a while. */
export const quietLookIntervalMs = 1_000;
/** How long after a change, or after output of a command, looks are frequent. */
export const busyMs = 5_000;
/** A new port is told without an owner when this many looks have found none. */
export const ownerLooksMax = 2;
/** Watching sockets at once. */
export const watchersMax = 200;
/** What may wait for a watcher that does not read. */
export const watcherQueueBytesMax = 256 * 1024;
