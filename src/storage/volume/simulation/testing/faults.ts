/** What goes wrong with the bucket for a while. */
import type { FaultRule } from "../../../object-store/testing/fault-script.ts";
import type { Scheduler } from "./scheduler.ts";

const metadata = /\/meta\//;

export function chooseFaults(scheduler: Scheduler): FaultRule[] {
  if (scheduler.chance(0.45)) return [];
  const chance = scheduler.choose([0.03, 0.1, 0.3]);
  const late = scheduler.pick(4);
  const all: FaultRule[] = [
    { fault: { kind: "unavailable" }, chance },
    { fault: { kind: "slow", delayMs: scheduler.pick(5_000) }, chance },
    { fault: { kind: "truncated" }, chance },
    { fault: { kind: "lost-request", isReadBack: scheduler.chance(0.5) }, chance },
    { fault: { kind: "lost-reply", isReadBack: scheduler.chance(0.5) }, chance },
    { fault: { kind: "late", afterRequests: late }, chance },
    { fault: { kind: "duplicate", afterRequests: late }, chance },
    { fault: { kind: "partial-delete" }, chance },
    // Of a store that is fit only the chain's list may be behind: creating what is there already tells.
    { fault: { kind: "stale-list", changes: 1 + scheduler.pick(3) }, key: metadata, chance },
  ];
  const chosen = all.filter(() => scheduler.chance(0.35));
  if (scheduler.chance(0.15)) {
    const untilMs = scheduler.nowMs + scheduler.pick(8_000);
    const requests = scheduler.chance(0.5) ? (["put"] as const) : undefined;
    chosen.unshift({
      fault: { kind: "unavailable" },
      untilMs,
      ...(requests === undefined ? {} : { requests }),
    });
  }
  return chosen;
}

/** Segments arrive, and what names them does not for a while. */
export function transactionsLate(scheduler: Scheduler): FaultRule {
  const untilMs = scheduler.nowMs + scheduler.pick(4_000);
  return { fault: { kind: "unavailable" }, requests: ["put"], key: metadata, untilMs };
}
