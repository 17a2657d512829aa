/** Work of any process inside, by the kernel's counters: what no request, command or task of ours tells of. */
import type { ActivityItem } from "../../contract/activity.ts";
import type { ActivitySource } from "./activity.ts";
import { diskRateMin, looksApartMs, processorShareMin, sentRateMin } from "./limits.ts";

/** Counters that only grow; null when there is nothing to be read now. */
export interface WorkCounters {
  processorMs: () => number | null;
  sentBytes: () => number | null;
  diskBytes: () => number | null;
}

interface Reading {
  atMs: number;
  processorMs: number | null;
  sentBytes: number | null;
  diskBytes: number | null;
}

export class WorkMeter implements ActivitySource {
  readonly #counters: WorkCounters;
  #last: Reading | null = null;
  #found: ActivityItem[] = [];

  constructor(counters: WorkCounters) {
    this.#counters = counters;
  }

  look(nowMs: number): readonly ActivityItem[] {
    const last = this.#last;
    // Two looks at nearly the same moment would divide by nearly nothing.
    if (last !== null && nowMs - last.atMs < looksApartMs && nowMs >= last.atMs) return this.#found;
    const reading: Reading = {
      atMs: nowMs,
      processorMs: this.#counters.processorMs(),
      sentBytes: this.#counters.sentBytes(),
      diskBytes: this.#counters.diskBytes(),
    };
    this.#last = reading;
    this.#found = last === null ? [] : workBetween(last, reading);
    return this.#found;
  }
}

function workBetween(before: Reading, after: Reading): ActivityItem[] {
  const elapsedMs = after.atMs - before.atMs;
  if (elapsedMs <= 0) return [];
  const rate = (counter: "processorMs" | "sentBytes" | "diskBytes"): number => {
    const [from, to] = [before[counter], after[counter]];
    // A new container counts from nought.
    return from === null || to === null || to < from ? 0 : (to - from) / elapsedMs;
  };
  const items: ActivityItem[] = [];
  if (rate("processorMs") >= processorShareMin)
    items.push({ kind: "processor", name: "computing" });
  if (rate("sentBytes") * 1_000 >= sentRateMin) items.push({ kind: "network", name: "sending" });
  if (rate("diskBytes") * 1_000 >= diskRateMin)
    items.push({ kind: "disk", name: "using its disk" });
  return items;
}
