/** The globals by which code asks for time and luck: inside a simulated process they are the world's. */
import { runningProcess, type Scheduler } from "./scheduler.ts";

const epochMs = 1_700_000_000_000;

export function installVirtualTime(): void {
  const real = {
    now: Date.now,
    performanceNow: performance.now.bind(performance),
    random: Math.random,
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
  };
  Date.now = () => {
    const process = runningProcess();
    return process === null ? real.now() : wallMs(process.scheduler);
  };
  performance.now = () => runningProcess()?.scheduler.nowMs ?? real.performanceNow();
  Math.random = () => (runningProcess()?.scheduler.random ?? real.random)();
  const virtual = new Map<object, () => void>();
  globalThis.setTimeout = ((work: () => void, delayMs?: number) => {
    const process = runningProcess();
    if (process === null) return real.setTimeout(work, delayMs);
    const handle = { unref: () => handle, ref: () => handle };
    const cancel = process.scheduler.schedule(delayMs ?? 1, process, () => {
      virtual.delete(handle);
      work();
    });
    virtual.set(handle, cancel);
    return handle;
  }) as typeof setTimeout;
  globalThis.clearTimeout = (handle) => {
    const cancel = typeof handle === "object" && handle !== null ? virtual.get(handle) : undefined;
    if (cancel === undefined) return real.clearTimeout(handle);
    virtual.delete(handle as object);
    cancel();
  };
}

/** The clock of leases and maps, in a process or outside. */
export function worldClock(scheduler: Scheduler): { nowMs: () => number } {
  return { nowMs: () => wallMs(scheduler) };
}

/** Of the clock on the wall, which is set now and then; timers do not mind. */
export function wallMs(scheduler: Scheduler): number {
  return trueMs(scheduler) + scheduler.clockAheadMs;
}

/** Of a clock that is right, as a bucket has it. */
export function trueMs({ nowMs }: { nowMs: number }): number {
  return epochMs + Math.floor(nowMs);
}
