/** Lifetimes and maxima of certificates. */

const dayMs = 24 * 3600_000;

export const authorityLifetimeMs = 3650 * dayMs;
/** Less of its life left than this, and an authority is replaced: browsers have to learn the new one. */
export const authorityRestMsMin = 30 * dayMs;
/** Less than browsers allow for authorities that users added (825 days). */
export const leafLifetimeMs = 90 * dayMs;
/** Clocks of clients may be behind. */
export const backdatedMs = dayMs;
/** A certificate is renewed when this part of its life is over. */
export const renewalPart = 2 / 3;
/** Up to so much of its life later, so that not all names come at once. */
export const renewalJitterPart = 1 / 30;
/** Certificates kept in memory, where each name needs its own. */
export const leavesMax = 200;

/** How often the files of a certificate are looked at. */
export const filesCheckIntervalMs = 5_000;
export const certificateFileSizeBytesMax = 1024 * 1024;

/** One order at a certificate service, from the first request to the certificate. */
export const orderTimeoutMs = 180_000;
/** One request to the service, and how often one that failed is sent again at once. */
export const serviceTimeoutMs = 30_000;
export const serviceRetriesMax = 2;
export const hookTimeoutMs = 120_000;
export const hookOutputSizeBytesMax = 64 * 1024;
/** After a failure, doubled each time. Let's Encrypt allows five failures an hour for a name. */
export const retryDelayMs = 15 * 60_000;
export const retryDelayMsMax = dayMs;
export const failedNamesMax = 1_000;
/** New names in a week: Let's Encrypt issues 50 to a domain, and renewals do not count. */
export const ordersWindowMs = 7 * dayMs;
export const ordersMax = 40;
/** How long a handshake waits for the certificate of a name that has none yet: less than the port waits for the handshake. */
export const handshakeWaitMs = 14_000;
export const namesWaitingMax = 20;
/** How often it is looked which certificates are due. */
export const renewalIntervalMs = 3600_000;
