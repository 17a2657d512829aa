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
