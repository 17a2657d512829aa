/** The front door's maxima. */

/** From a JSON body's first byte to its last. */
export const jsonBodyTimeoutMs = 30_000;
export const headersTimeoutMs = 30_000;
/** Longer than the idle time of usual proxies and client pools, so that they close first. */
export const keepAliveTimeoutMs = 75_000;
export const tcpKeepAliveDelayMs = 30_000;
export const connectionsMax = 20_000;
/** Open streams and sockets of one sprite. */
export const splicesPerSpriteMax = 5_000;

/** In which `stop` ends whatever is still open. */
export const stopTimeoutMs = 2_000;
/** Open splices get this much of it to take leave. */
export const stopGraceMs = 1_000;

/** A delete is durable before the sprite's bytes are gone; the answer waits this long for them. */
export const destroyWaitMsMax = 25_000;
export const destroyRetryDelayMs = 5_000;
export const destroyRetryDelayMsMax = 300_000;

/** Check asks only sprites that run; one that is about to end may have to start again. */
export const checkStartTimeoutMs = 20_000;
export const checkTimeoutMs = 5_000;
export const checkBodySizeBytesMax = 64 * 1024;

export const creationWindowMs = 60_000;
/** What `wait_for_capacity` waits at most: JavaScript and Go give a create up after 120 s. */
export const capacityWaitMsMax = 100_000;
export const capacityWaitersMax = 1_000;
/** When to ask again for a place, which nobody can foresee. */
export const capacityRetryMs = 10_000;

export const watchHeartbeatMs = 15_000;
export const watchersPerOrganizationMax = 1_000;
export const watchInitialLinesMax = 10_000;
/** A watcher that reads too slowly is disconnected, and can ask again. */
export const watchBufferSizeBytesMax = 1024 * 1024;

export const tokenLengthMax = 512;
export const tokenUseFlushMs = 60_000;
export const requestIdLengthMax = 64;
export const logPathLengthMax = 512;
export const databaseBusyTimeoutMs = 5_000;
/** A database's log that was folded is cut to this size when it begins anew. */
export const databaseLogSizeBytesMax = 1024 * 1024;

/** A login waits this long for a person, who has to find a token first. */
export const loginLifetimeMs = 10 * 60_000;
export const loginPollIntervalMs = 1_000;
export const loginsWaitingMax = 1_000;
/** Behind a proxy many people share an address. */
export const loginsPerAddressMax = 50;
/** Wrong secrets and codes from one address, in this time. */
export const failedAttemptsMax = 20;
export const failedAttemptsWindowMs = 60_000;
export const failingAddressesMax = 10_000;
/** Tokens that one answer lists, newest first. */
export const tokensListedMax = 1_000;

/** A browser's login on the login page, of which a sprite's host gets a session that is renewed by itself. */
export const urlLoginLifetimeMs = 7 * 24 * 3600_000;
export const urlSessionLifetimeMs = 24 * 3600_000;
/** Of one organization; the oldest are dropped. */
export const urlSessionsMax = 10_000;
/** For the redirect from the login page to the sprite's host. */
export const loginCodeLifetimeMs = 60_000;
export const loginCodesMax = 10_000;
/** Of the address that a visitor wanted. */
export const returnPathLengthMax = 2_048;
/** How often is looked for organizations that are not known yet, because somebody names one in a URL. */
export const unknownShortIdLookMs = 1_000;
/** Characters of a reason that the registry keeps. */
export const becauseLengthMax = 200;
/** How often is looked whose schedule is due; how many are woken by it at once; when one that did not wake is tried again. */
export const alarmLookMs = 5_000;
export const wakesAtOnceMax = 16;
export const alarmRetryMs = 60_000;
