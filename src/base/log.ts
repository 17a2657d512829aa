import { constants, openSync, writeSync } from "node:fs";
import { destination, pino, type Logger } from "pino";

export type Log = Logger;
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Keys that may hold a secret or a command's environment; their values never reach a log. */
const redactedPaths = [
  "token",
  "*.token",
  "authorization",
  "*.authorization",
  "env",
  "*.env",
  "environment",
  "*.environment",
];

/** Structured JSON on stderr, one object a line, synchronous so that a crash loses none of it. */
export function createLog(options: { level: LogLevel; room: string }): Log {
  return pino(
    { level: options.level, base: { room: options.room, pid: process.pid }, redact: redactedPaths },
    process.env[patienceVariable] === "none"
      ? impatientDestination()
      : destination({ dest: 2, sync: true }),
  );
}

/** Set to `none` for a process whose log may have no reader for a while: what has no room is dropped. */
export const patienceVariable = "OPENSPRITES_LOG_PATIENCE";

/**
 * The pipe at stderr, opened anew: whether a write waits is a matter of the open file, and libuv makes
 * each child's stderr wait. Whoever may not open it, as another user, writes to what it has.
 */
function impatientDestination(): { write: (line: string) => void } {
  let descriptor = 2;
  try {
    descriptor = openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // Then a full pipe is waited for.
  }
  return {
    write: (line) => {
      try {
        let rest = Buffer.from(line);
        while (rest.length > 0) rest = rest.subarray(writeSync(descriptor, rest));
      } catch {
        // It is full, and nobody reads.
      }
    },
  };
}
