import { SpriteError } from "../../contract/errors.ts";
import type { CallOptions } from "./object-store.ts";

/**
 * Runs one call of a store under its signal and its deadline. An aborted call rejects with the signal's reason, one that took too
 * long with `deadline_exceeded`, whatever the work inside threw because of it.
 *
 * @param what names the call in the error, such as "get object a/b"
 */
export async function withinDeadline<T>(
  what: string,
  options: CallOptions,
  work: (options: { signal: AbortSignal | undefined }) => Promise<T>,
): Promise<T> {
  options.signal?.throwIfAborted();
  const { deadlineMs } = options;
  if (deadlineMs === undefined) return underSignal({ signal: options.signal, options }, work);
  const controller = new AbortController();
  const late = (): void => {
    const message = `${what}: took longer than ${deadlineMs} ms`;
    controller.abort(new SpriteError("deadline_exceeded", message));
  };
  const timer = setTimeout(late, deadlineMs);
  const ended = controller.signal;
  try {
    const signal = options.signal ? AbortSignal.any([options.signal, ended]) : ended;
    return await underSignal({ signal, options }, work);
  } finally {
    clearTimeout(timer);
  }
}

async function underSignal<T>(
  { signal, options }: { signal: AbortSignal | undefined; options: CallOptions },
  work: (options: { signal: AbortSignal | undefined }) => Promise<T>,
): Promise<T> {
  try {
    return await work({ signal });
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason;
    // A write whose outcome nobody knows says so, also when it was the deadline that kept us from finding out.
    if (signal?.aborted && !isOutcomeUnknown(error)) throw signal.reason;
    throw error;
  }
}

/**
 * True for the error of a conditional write that may or may not have taken effect, now or a little later: the store
 * neither answered nor could be asked. Whoever gets it reads the object again before it decides anything.
 */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof SpriteError && error.details["isOutcomeUnknown"] === true;
}

export function outcomeUnknown(what: string, cause: unknown): SpriteError {
  return new SpriteError("storage_failure", `${what}: nobody knows whether it took effect`, {
    cause,
    details: { isOutcomeUnknown: true },
  });
}
