import { setTimeout as sleep } from "node:timers/promises";

/** Waits until the condition holds; false when it still does not after the time. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  options: { timeoutMs: number; intervalMs?: number },
): Promise<boolean> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= deadline) return false;
    await sleep(options.intervalMs ?? 20);
  }
}

/**
 * True when the promise has resolved in time. What it rejects with is thrown; past the time nobody
 * looks any more.
 */
export async function settlesWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([work.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Rejects with the error that `onTimeout` makes when the promise has not settled in time. The work
 * itself goes on.
 */
export async function withDeadline<T>(
  work: Promise<T>,
  options: { timeoutMs: number; onTimeout: () => Error },
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(options.onTimeout()), options.timeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
