import type { Readable } from "node:stream";

import { drainMsMax, drainQuietMs } from "./limits.ts";

const tickMs = 20;

/**
 * Waits for the rest of an ended command's output: until every source has ended or, when others
 * hold the pipes, until nothing came for a while or they kept writing for too long. Time in which
 * the reader is held back does not count, so that nothing the command wrote is given up for a slow
 * client's sake.
 */
export function drainOutput(options: {
  sources: readonly Readable[];
  isHeldBack: () => boolean;
  /** When something was last read. */
  lastOutputMs: () => number;
}): Promise<void> {
  return new Promise((resolve) => {
    let quietMs = 0;
    let totalMs = 0;
    let lastTickMs = performance.now();
    let seenOutputMs = options.lastOutputMs();
    const timer = setInterval(tick, tickMs);
    for (const source of options.sources) source.once("close", check);
    check();

    function check(): void {
      if (options.sources.every(hasEnded)) finish();
    }

    function tick(): void {
      const nowMs = performance.now();
      // A machine that was busy, or asleep, may not have read what is there: a late tick counts as
      // one.
      const passedMs = Math.min(nowMs - lastTickMs, tickMs);
      lastTickMs = nowMs;
      if (options.isHeldBack()) return;
      totalMs += passedMs;
      quietMs = options.lastOutputMs() === seenOutputMs ? quietMs + passedMs : 0;
      seenOutputMs = options.lastOutputMs();
      if (quietMs >= drainQuietMs || totalMs >= drainMsMax) finish();
    }

    function finish(): void {
      clearInterval(timer);
      for (const source of options.sources) {
        source.off("close", check);
        source.destroy();
      }
      resolve();
    }
  });
}

function hasEnded(source: Readable): boolean {
  return source.readableEnded || source.destroyed;
}
