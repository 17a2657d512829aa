/** The times of a sprite's URL. */

/**
 * A sprite stays awake so long after it was asked to be. The edge sends requests without asking again for one second, and this process
 * may be slow to hear.
 */
export const askHoldMs = 3_000;
/** What the edge said of its traffic holds until it says so again, and no longer than it would say so. */
export const busyHoldMs = 3_000;
/** A request whose answer has not begun holds the sprite awake; one that waits for longer waits for nothing that works. */
export const answerHoldMsMax = 600_000;
/** A service without an HTTP port is given so long after its container's start to listen at the usual one. */
export const startListenMsMax = 15_000;
export const listenPollMs = 20;
/** Connections into a network that is about to end are closed by then, or it ends under them. */
export const endMsMax = 1_000;
/** One each for the servers that have this sprite: one, or two while it is handed over. */
export const leasesMax = 8;
export const asksMax = 64;
