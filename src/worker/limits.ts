/** Every bound of the worker, with its reason. */

/** An agent that has not said "ready" by then is killed: a cold start takes well under a second. */
export const agentStartTimeoutMs = 60_000;
/** One that takes over finds everything on this machine; until it does, the guest waits for its disk. */
export const agentTakeoverTimeoutMs = 30_000;
/**
 * How long an agent may take to end its container and store its disk; a server must be gone within
 * 10 s of SIGTERM.
 */
export const agentStopTimeoutMs = 7_500;
/**
 * Agents of a dead server notice by themselves and store their disks; the next server waits this
 * long before it kills them.
 */
export const staleAgentTimeoutMs = 8_000;
export const commandTimeoutMs = 10_000;
/** Sprites that stop or start at once: more only makes each one slower on a small machine. */
export const parallelStopsMax = 8;
/** The first id of slot 0. High, so that no account of the machine or of another container tool is there. */
export const hostIdBaseFirst = 1_000_000_000;
/** Sprites that can run at once on one machine; bounded by the addresses of the sprite network. */
export const slotsMax = 4_000;
export const diskSizeBytesDefault = 100 * 2 ** 30;
/** A line of an agent's status or log; a longer one is cut. */
export const lineBytesMax = 64 * 1024;
/** How long an image server outlives a server that was killed: its agents end their containers meanwhile. */
export const imageLingerMs = 5_000;
/** A server keeps its data directory for hours; this only bears with one that is just ending. */
export const serverLockWaitMs = 300;
/** An image server has nothing to store, and it stops after the agents, whose time is not its own. */
export const imageStopTimeoutMs = 1_000;
/** What a child may have kept for its successor: a disk, a lifeline, and one for each session's input or terminal. */
export const keptDescriptorsMax = 1_100;
/** An agent that ends sooner than this after it was there to serve counts as one that cannot live. */
export const shortAgentLifeMsMax = 100;
/** So many of them in a row are replaced under their running container; then it starts anew. */
export const takeoversInARowMax = 3;
/** So many of them in a row at all; then the sprite is down until somebody needs it. */
export const agentStartsInARowMax = 5;
/** An agent changes a setting at once; one that does not answer keeps the old one, and its user is told. */
export const settingsTimeoutMs = 5_000;
/** Looking at all of an imported disk and its checkpoints, which may be many and far away. */
export const importedDiskCheckMsMax = 600_000;
/** How long an export waits until the bucket has what a running sprite has written. */
export const storeTimeoutMs = 120_000;
/** The pause before a disk is stored that its agent could not store, doubled with each attempt; and how many there are. */
export const settleRetryMs = 2_000;
export const settleTriesMax = 9;
/** As an agent's own (agent/limits.ts); it only has to store what is there. */
export const settleSyncIntervalMs = 1_000;
/** How often is looked whether a suspended sprite is to be ended, and the share of free memory below which one is. */
export const retireLookMs = 1_000;
export const memoryFreeShareMin = 0.1;
/** An agent answers at once whether it still sleeps. */
export const retireTimeoutMs = 2_000;
/** Longer than an agent waits for the requests under way (agent/activity/limits.ts). */
export const prepareSleepTimeoutMs = 15_000;
/** Of an agent's refusal so much is read. */
export const refusalBytesMax = 64 * 1024;
/** Agents that start at once for each processor: a start waits for the disk and the kernel for a third of its time. */
export const startsPerProcessor = 2;
/** How long a start waits for its turn, and its callers with it; past that they are told to come again after so many seconds. */
export const startWaitMsMax = 60_000;
export const startRetrySeconds = 5;
/** More would not get their turn in time on any machine. */
export const startWaitersMax = 1_000;
/** What a sprite needs until it runs; on a machine that has less, starts wait until something was suspended and ended. */
export const startMemoryBytesMin = 192 * 2 ** 20;
export const roomLookMs = 250;
/** An agent is prepared ahead so long after a start, when no other is under way, and only while so much of the memory is free. */
export const prepareAfterMs = 400;
export const prepareFreeShareMin = 0.25;
/** Sprites whose disks are read while they sleep, at a time: each has a process of some 60 MB, and as much again for its files. */
export const readersMax = 8;
/** How long a reader stays for the next request. */
export const readerIdleMs = 5_000;
/** A reader that is not ready by then is given up, and the sprite started. */
export const readerStartTimeoutMs = 20_000;
/** A killed one leaves nothing either, but takes longer. */
export const readerStopTimeoutMs = 5_000;
/** How long requests go on with a reader whose sprite has been started. What it reads stays in the bucket for 15 minutes. */
export const readerLeftMsMax = 600_000;
/** What a reader may keep of a disk on this machine: it is gone when it ends. */
export const readerCacheBytesMax = 512 * 2 ** 20;
/** A process that waits for its next server says at once what it is, unless hundreds do; one that hangs is ended instead. */
export const adoptionOfferMsMax = 10_000;
/** With the environment, the policy and all descriptors. */
export const offerBytesMax = 4 * 2 ** 20;
/** Between the end of an adopted process's connection and its own. */
export const adoptedEndMsMax = 10_000;
/** Image servers wait for longer, since agents that give up still end their containers. */
export const imageOrphanExtraMs = 30_000;
/** When to come again to a server that was drained: its operator is at work on it. */
export const drainedRetrySeconds = 30;

/** An agent says at once that its sprite's URL may be opened; waking it comes later. */
export const urlLeaseTimeoutMs = 10_000;
/** Past the time that an agent was given, in which it would say that it was not enough. */
export const urlAskTimeoutMsMax = 5_000;
/** A web server inside that does not accept a connection for so long hangs. */
export const urlConnectTimeoutMs = 10_000;
