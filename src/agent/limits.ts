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
/** How often a file system is asked to freeze for a checkpoint before it is cut as it is. */
export const freezeTriesMax = 2;
/** How often that is looked at while somebody waits. */
export const bucketLookIntervalMs = 250;
/** A container that ends by itself sooner than this counts as one that cannot live. */
export const shortLifeMsMax = 10_000;
export const restartDelayMsMin = 500;
export const restartDelayMsMax = 30_000;

/** Reading a checkpoint's superblock, descriptors and journal, whose blocks may come from the bucket. */
export const quickCheckMsMax = 30_000;
/**
 * Time for looking at a checkpoint's whole file system before a restore. A warm one of 128,000 files
 * takes 190 ms; a large one far away is not waited for.
 */
export const fullCheckMsMax = 1_000;
/** A repair that the start of a sprite waits for; the start as a whole has 60 s (worker/limits.ts). */
export const safeRepairMsMax = 15_000;
/**
 * Each half of a repair that somebody has asked for: looking, and writing. Clients give a stream up
 * that says nothing for five minutes.
 */
export const thoroughRepairMsMax = 120_000;
/** How long the state before a restore can be had back by `restore --undo`. */
export const undoAgeMsMax = 24 * 60 * 60 * 1000;
/** How long a health check waits for what the disk says of itself. */
export const syncAnswerMsMax = 1_000;
/** How long a change of durability waits for the bucket; the worker waits for 5 s (worker/limits.ts). */
export const durabilityStoreMsMax = 1_000;
/** How long what a dead agent began may go on before its sprite starts anew, and how often to look. */
export const eldersMsMax = 20_000;
export const elderPollMs = 5;
/** Each answer of a rehearsal: how long it may take, and how much of it is read. */
export const rehearsalMsMax = 10_000;
export const rehearsalBytesMax = 16 * 1024;
