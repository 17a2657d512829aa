/** The times of leases. All of them are measured on a monotonic clock. */

/** How often a server says that it lives: one small PUT per server, however many sprites it has. */
export const serverRenewMs = 10_000;
/** A server whose record has not changed for so long is dead to others. */
export const serverTtlMs = 30_000;
/** How often a server that may be dead is looked at. */
export const serverLookMs = 2_000;
/** After a failed renewal the next attempt follows sooner. */
export const serverRetryMs = 2_000;
/** One renewal may take so long. */
export const serverRequestTimeoutMs = 8_000;
/** How often the holder of a head is read again when somebody else was faster. */
export const acquireTriesMax = 8;
