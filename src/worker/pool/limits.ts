/** Every bound of the warm pool, with its reason. */

/** Demand may raise the number of spares so far above the one that was configured. */
export const growthFactorMax = 4;
/** Spares at most, however many are configured and asked for: each is some 60 MB of memory. */
export const sparesMax = 64;
/** Creates within so long of each other are one burst: a pool of that size would have served it. */
export const burstMs = 10_000;
/** A burst is forgotten by and by over so long. */
export const burstMemoryMs = 600_000;
/** Creates that are remembered: more make the same burst. */
export const createsRememberedMax = 256;
/** Below this share of free memory spares go, before any sprite that is somebody's does (`worker/limits.ts`). */
export const freeShareMin = 0.2;
/** Below this none is added. */
export const freeShareToGrow = 0.25;
/** How often the pool compares what it has with what it should have. */
export const lookMs = 1_000;
/** How soon it looks again when it put off a refill because somebody waited for a start. */
export const lookAgainMs = 100;
/** A refill is put off for so long at most: under a constant load there would never be another spare. */
export const putOffMsMax = 3_000;
/** A spare that has not come to rest by then is given up. */
export const standByTimeoutMs = 60_000;
/** Pauses after failures, doubled each time. */
export const retryMs = 1_000;
export const retryMsMax = 60_000;
/** What is left of a spare is tried to be removed so often, with the same pauses; then the next start does. */
export const removalTriesMax = 10;
/** An older one is replaced: what no registry names counts as leaked after a day (`storage/audit/limits.ts`). */
export const spareAgeMsMax = 6 * 3_600_000;
/** Nice value of a spare while it is made: a third of what others get. With much less a busy machine would never have one. */
export const nicenessWhileMade = 5;
/** A claim takes milliseconds; a spare that takes so long is started anew, the slow way. */
export const claimTimeoutMs = 5_000;
/** How long a stop waits until the disks of the spares are gone; the next start removes what is left. */
export const clearMsMax = 3_000;
