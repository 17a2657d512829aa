/** Every bound of comparing checkpoints, with its reason. */

/** Directories within each other; each holds four descriptors, and its path has to fit a line for Go. */
export const differenceDepthMax = 128;
/** Each mounts two disks and has a process of its own. */
export const differencesMax = 4;
/** A process that only waits for the disk ends when that answers. */
export const processEndMsMax = 10_000;
export const errorTextLengthMax = 2_000;
/** Lines are sent to the agent in parts of about this size. */
export const partBytes = 64 * 1024;
