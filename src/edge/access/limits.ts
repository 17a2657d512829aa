/** A login's maxima. */

/** From the redirect to the login page until the visitor is back, who may have to find a token. */
export const nonceLifetimeMs = 10 * 60_000;
export const nonceSizeBytes = 24;
/** A longer address is forgotten over the login, which then leads to the first page. */
export const returnPathLengthMax = 2_000;
