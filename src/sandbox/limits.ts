/** Every bound of this room. */

/** Creating and starting a container; a machine under load takes seconds, a hanging one for ever. */
export const runtimeStartMsMax = 30_000;

/** Any other call of the OCI runtime. */
export const runtimeCallMsMax = 20_000;

/** From the start of the container's first process to its word that the files in /etc are written. */
export const bootMsMax = 10_000;

/** Beside that, a fork makes new host keys at its first start: a few, and an RSA key takes a while. */
export const renewalMsMax = 20_000;
export const hostKeySecondsMax = 4;

/**
 * From SIGKILL to the end of the container's first process; a process that hangs in the disk's
 * kernel code takes longer.
 */
export const killMsMax = 5_000;
/** By then everything inside has its SIGKILL: the first process gets it and hands it on as it ends. */
export const killPassedOnMs = 250;

/** How often to look whether a container's first process lives when nothing would tell of its end. */
export const adoptedPollMs = 250;

/** One invocation of `ip` or `nft`. */
export const networkCallMsMax = 10_000;

/** What the first process says before it is ready; more is its guest playing with its output. */
export const bootOutputBytesMax = 4096;

/** Open files of one process: what is set, and how far a program may raise it itself. */
export const openFilesSoft = 65_536;
export const openFilesHard = 1_048_576;

/** Size of /dev/shm and /run; what they hold counts as the sprite's memory. */
export const sharedMemoryBytesMax = 1024 * 1024 * 1024;
export const runFileSystemBytesMax = 512 * 1024 * 1024;

/** How long an unmount waits for dying processes before the mount is detached, and how often it tries. */
export const unmountMsMax = 3_000;
export const unmountRetryMs = 5;

/** How much of the guest's connections is looked at when a policy cuts some, and how many in one call. */
export const connectionTableBytesMax = 4 * 1024 * 1024;
export const cutsPerCallMax = 100;

/** Links to the gateway that are tried before all their addresses count as taken. */
export const linkAttemptsMax = 64;

/** Time that a resolver has to answer. */
export const dnsAnswerMsMax = 5_000;

/** Questions that wait for an answer, of all sprites together; one more is answered with a failure. */
export const dnsQuestionsMax = 1024;

/** DNS over TCP at once. */
export const dnsStreamsMax = 256;

/**
 * Descriptors that are looked at to find who holds a socket, at one time: some 15 ms of work. A guest
 * with more open files may keep its ports' owners to itself.
 */
export const socketOwnerLooksMax = 8_192;

/** Ancestors of a process that are followed to the command that it belongs to. */
export const ancestorsMax = 64;
/** Ports that are tried until one is free for UDP and TCP alike. */
export const portTriesMax = 20;
