/** Every bound of the agent's own parts, with its reason. */

/**
 * Checkpoints visible below /.sprite/checkpoints (contract.md section 5). Each one holds a loop
 * device and two mounts.
 */
export const checkpointViewsMax = 5;
/**
 * How old the bucket's state of a busy disk may get: what losing the machine costs at most, beside
 * the upload.
 */
export const syncIntervalMs = 1_000;
/**
 * How long a bucket may refuse before those who wait for it are told. A bucket that is merely slow is
 * waited for.
 */
export const bucketPatienceMs = 5_000;
/** How often that is looked at while somebody waits. */
export const bucketLookIntervalMs = 250;
/** A container that ends by itself sooner than this counts as one that cannot live. */
export const shortLifeMsMax = 10_000;
export const restartDelayMsMin = 500;
export const restartDelayMsMax = 30_000;
