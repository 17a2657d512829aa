/** Every bound of control connections, with its reason. */

/** Sockets at once: clients keep up to 100 each. */
export const controlSocketsMax = 1_000;
/** Values in one operation's arguments. */
export const argumentsMax = 20_000;
/** What is told of a command of which nobody knows how it ended: anything but success. */
export const unknownExitCode = 255;
/** What is told of a command that was never started, as a shell says of what it cannot execute. */
export const notStartedExitCode = 126;
/** A listing in one message; a longer one is an error here, and a stream over HTTP. */
export const listedBytesMax = 16 * 1024 * 1024;
/** What waits for a client before a file that it reads is no longer read. */
export const fileQueueBytesMax = 1024 * 1024;
