import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import { errorCode } from "../../base/error-code.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { PooledReads } from "./pooled-reads.ts";
import { abortReason } from "./abort-reason.ts";
import {
  backlogRetryDelayMsMax,
  backlogTimeoutMs,
  connectAttemptsMax,
  connectRetryDelayMs,
} from "./limits.ts";

/** Makes sure that the sprite's agent runs and says where it listens. */
export type StartAgent = (signal: AbortSignal) => Promise<{ socketPath: string }>;

/** The agent has ended, and nobody has noticed yet. */
const goneCodes: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE"]);

/**
 * Connects to the sprite's agent, starting it when needed. Nothing was sent yet, so trying again is safe.
 * @throws SpriteError unavailable, and what `start` throws
 */
export async function connectAgent(
  start: StartAgent,
  signal: AbortSignal,
  reads: PooledReads | null = null,
): Promise<Socket> {
  let lastError: unknown;
  for (let attempt = 1; attempt <= connectAttemptsMax; attempt += 1) {
    const { socketPath } = await unlessAborted(start(signal), signal);
    try {
      return await connectWithBacklog(socketPath, signal, reads);
    } catch (error) {
      signal.throwIfAborted();
      if (!goneCodes.has(errorCode(error) ?? "")) throw unavailable(error);
      lastError = error;
    }
    await delay(connectRetryDelayMs * attempt, undefined, { signal });
  }
  throw unavailable(lastError);
}

/** A worker may go on with a start that others wait for too; this caller does not. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortReason(signal));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function unavailable(cause: unknown): SpriteError {
  return new SpriteError("unavailable", "the sprite's agent does not answer; try again", { cause });
}

async function connectWithBacklog(
  path: string,
  signal: AbortSignal,
  reads: PooledReads | null,
): Promise<Socket> {
  const deadlineMs = performance.now() + backlogTimeoutMs;
  for (;;) {
    try {
      return await connectOnce(path, signal, reads);
    } catch (error) {
      if (errorCode(error) !== "EAGAIN" || performance.now() > deadlineMs) throw error;
    }
    await delay(1 + Math.random() * backlogRetryDelayMsMax, undefined, { signal });
  }
}

function connectOnce(
  path: string,
  signal: AbortSignal,
  reads: PooledReads | null,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const onread = reads === null ? {} : { onread: reads.options };
    const socket = connect({ path, allowHalfOpen: true, ...onread });
    const onAbort = (): void => {
      socket.destroy();
      reject(abortReason(signal));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", onError);
      resolve(socket);
    });
    const onError = (error: Error): void => {
      signal.removeEventListener("abort", onAbort);
      reject(error);
    };
    socket.once("error", onError);
  });
}
