/** The splice's maxima. */

import type { ResponseLimits } from "../../base/http/response-reader.ts";

/**
 * Frames up to this size reach the client whole or not at all, so that a close frame can follow at
 * any time.
 */
export const heldFrameSizeBytesMax = 256 * 1024;
/** Of an agent's answer. HTTP exec gives each frame a chunk of its own, which therefore stays whole. */
export const agentResponseLimits: ResponseLimits = {
  headMax: 256 * 1024,
  lineMax: 1024,
  trailersMax: 16 * 1024,
  interimMax: 16,
  wholeChunkMax: 64 * 1024,
};
/** Between the chunks of an HTTP exec; the agent leaves at least as much. */
export const execChunkGapMs = 3;
/** Before a chunk that can be an exit frame, which the client believes only when it arrives alone. */
export const exitChunkGapMs = 25;
/** An exit frame is its id and one byte (contract.md section 3.8). */
export const exitChunkSizeBytes = 2;
/** What a client may send before its upgrade is answered. */
export const earlyDataSizeBytesMax = 64 * 1024;
/** Body of an answer that refuses an upgrade. */
export const refusalSizeBytesMax = 1024 * 1024;

/** Go's handshake deadline is 30 s; the agent answers at once or is stuck. */
export const upgradeAnswerTimeoutMs = 30_000;
/** An agent that has just ended is started again this often before the client hears of it. */
export const connectAttemptsMax = 3;
export const connectRetryDelayMs = 50;
/** Linux refuses a connection to a Unix socket with EAGAIN while its backlog is full. */
export const backlogRetryDelayMsMax = 20;
export const backlogTimeoutMs = 5_000;

/** After our last byte, how long the client has to close its side. */
export const closeTimeoutMs = 5_000;
/** A client that takes nothing of what is left for this long has gone. */
export const drainIdleTimeoutMs = 60_000;
