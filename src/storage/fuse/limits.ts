/** One request or reply carries at most this much data: 256 pages. */
export const dataSizeBytesMax = 1024 * 1024;
/** The kernel's buffer for a request must hold the header and the operation's fields too. */
export const requestSizeBytesMax = dataSizeBytesMax + 4_096;
/** Names and sizes of the directory do not change behind the kernel's back for this long. */
export const attributeTimeoutSeconds = 86_400;
/** Requests that the kernel sends on without waiting for replies (read-ahead, asynchronous direct I/O). */
export const backgroundRequestsMax = 128;
export const mountTimeoutMs = 10_000;
export const unmountTimeoutMs = 5_000;
/** A loop device that was just detached lets go of its file a little later. */
export const unmountBusyMsMax = 3_000;
/** A name in the directory. */
export const nameSizeBytesMax = 255;
/** Files in the directory: `live` and shown checkpoints. */
export const filesMax = 1_024;

/**
 * A disk whose syncs take longer on average gets them from the slow lane, so that reads and writes
 * go on meanwhile.
 */
export const inlineSyncMsMax = 0.6;
/** Then one in so many is tried in the fast lane all the same: disks have bad moments. */
export const inlineSyncRetryEvery = 256;
