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
    destination({ dest: 2, sync: true }),
  );
}
