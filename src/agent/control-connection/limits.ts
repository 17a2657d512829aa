/** Every bound of control connections, with its reason. */

/** Sockets at once: clients keep up to 100 each. */
export const controlSocketsMax = 1_000;
/** Values in one operation's arguments. */
export const argumentsMax = 20_000;
/** What is told of a command of which nobody knows how it ended: anything but success. */
export const unknownExitCode = 255;
/** What is told of a command that was never started, as a shell says of what it cannot execute. */
export const notStartedExitCode = 126;
