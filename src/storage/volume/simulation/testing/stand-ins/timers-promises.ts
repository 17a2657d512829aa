/** Stands in for `node:timers/promises`: time is the world's. */
import { setTimeout as realDelay } from "node:timers/promises";
import { runningProcess } from "../scheduler.ts";
import { never } from "../simulated-process.ts";

export async function setTimeout<T>(
  delayMs?: number,
  value?: T,
  options: { signal?: AbortSignal } = {},
): Promise<T> {
  const process = runningProcess();
  if (process === null) return await realDelay(delayMs, value, options);
  const { signal } = options;
  if (process.isDead) return await never();
  signal?.throwIfAborted();
  return await new Promise<T>((resolve, reject) => {
    const cancel = process.scheduler.schedule(delayMs ?? 1, process, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve(value as T);
    });
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Takes a little time: who asks again and again whether something is over would keep it from ever being. */
export async function setImmediate<T>(value?: T): Promise<T> {
  return await setTimeout(0.01, value);
}
