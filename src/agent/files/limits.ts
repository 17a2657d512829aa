/** Every bound of the file operations, with its reason. */

/** Of one message between agent and helper: a batch of entries with the longest paths fits. */
export const channelLineBytesMax = 8 * 1024 * 1024;
export const pieceBytesMax = 1024 * 1024;

/** Operations of one sprite at a time; each holds a descriptor or two, and a buffer at each end. */
export const operationsMax = 128;
/** Loading the helper takes some 60 ms on an idle machine. */
export const helperStartMsMax = 20_000;
/** A helper costs as much memory as an agent: it stays only as long as it is used. */
export const helperIdleMsMax = 20_000;
/** A killed helper ends as soon as the disk answers what it waits for. */
export const helperEndMsMax = 10_000;
/** How often the helper shows that it works, unless the disk keeps it waiting. */
export const signOfLifeIntervalMs = 10_000;
/** How long a caller waits for a disk that does not answer. */
export const silenceMsMax = 60_000;

/** Read from and written to files at a time. */
export const chunkBytes = 256 * 1024;
/**
 * Between two flushes of a large write that is still coming in, so that the last one, which its client
 * waits for, is a small one.
 */
export const flushEveryBytes = 64 * 1024 * 1024;

/** Directories within each other that one operation walks into; each holds two descriptors. */
export const depthMax = 256;
/** Names of one directory, which are sorted in memory, at some 100 bytes each. */
export const directoryEntriesMax = 500_000;
/** Entries of one recursive listing. */
export const listingEntriesMax = 2_000_000;
/** Entries in one message to the agent. */
export const batchEntriesMax = 500;
/** Paths that an answer lists; what was done beyond them is only counted. */
export const answerPathsMax = 10_000;
/** How long the helper works at one operation before it looks at the others. */
export const sliceMs = 5;
/** Links that lead to links before we give up, as the kernel does. */
export const linksMax = 40;
/** /etc/passwd and /etc/group of a sprite. */
export const nameTableBytesMax = 1024 * 1024;
/** The kernel says EAGAIN to a path with `..` whenever something is renamed meanwhile. */
export const raceRetriesMax = 64;

/** Sockets that watch one sprite's files; each subscription has a small process of its own. */
export const watchSocketsMax = 32;
export const subscriptionsMax = 16;
/** Directories of one subscription: half of what older kernels allow a user. */
export const watchedDirectoriesMax = 4_096;
/** Of a watch's client, before the changes wait, in the end in the kernel, which then forgets some. */
export const watchQueueBytesMax = 1024 * 1024;
/** How often is looked whether a slow client has read. */
export const slowClientPollMs = 20;
/** A watch's messages from its client. */
export const watchMessageBytesMax = 2 * 1024 * 1024;
