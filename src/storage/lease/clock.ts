import { setTimeout as delay } from "node:timers/promises";

/** Time as leases see it, so that tests and simulations need not wait. */
export interface LeaseClock {
  /** For people; nothing is decided by it. */
  nowMs(): number;
  /** Never jumps; comparable only within this process. */
  monotonicMs(): number;
  /** @throws the signal's reason */
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: LeaseClock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  wait: async (ms, signal) => {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  },
};
