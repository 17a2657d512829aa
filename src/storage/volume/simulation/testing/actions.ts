/** How often what happens in a world: some worlds look at one thing more than at others. */
import type { Scheduler } from "./scheduler.ts";

export type Action =
  | "write"
  | "punch"
  | "read"
  | "flush"
  | "sync"
  | "checkpoint"
  | "restore"
  | "deleteCheckpoint"
  | "setDurability"
  | "forget"
  | "close"
  | "kill"
  | "takeOver"
  | "forkOrDestroy"
  | "scrub"
  | "collect"
  | "setClocks"
  | "relax"
  | "wakeLate"
  | "fill";

/**
 * `power`: what a machine has promised, and loses its power then. `durable`: what the bucket
 * has promised. `damage`: what lies here is changed while the volume is closed.
 * `cuts`: writes that come while one is made. `full`: the machine's disk is, now and then.
 * `clocks`: they are set. `audits`: scrubs and collections run beside.
 * `late`: machines go on with what another has taken over.
 */
export type Focus =
  | "mixed"
  | "power"
  | "durable"
  | "forks"
  | "damage"
  | "cuts"
  | "full"
  | "clocks"
  | "audits"
  | "late";

export const focuses: readonly Focus[] = [
  "mixed",
  "mixed",
  "mixed",
  "power",
  "durable",
  "forks",
  "damage",
  "cuts",
  "full",
  "clocks",
  "audits",
  "late",
];

const weights: Readonly<Record<Focus, Readonly<Partial<Record<Action, number>>>>> = {
  mixed: {
    ...{ write: 36, punch: 6, read: 8, flush: 8, sync: 8 },
    ...{ checkpoint: 7, restore: 4, deleteCheckpoint: 2, setDurability: 2 },
    ...{ forget: 3, close: 4, kill: 3, takeOver: 4, forkOrDestroy: 5 },
    ...{ scrub: 2, collect: 3, setClocks: 2, relax: 2, wakeLate: 4, fill: 2 },
  },
  power: {
    ...{ write: 40, punch: 5, read: 8, flush: 20, sync: 4 },
    ...{ checkpoint: 4, restore: 3, close: 4, kill: 15 },
  },
  durable: { write: 40, punch: 5, flush: 30, sync: 5, checkpoint: 5, kill: 5, relax: 8 },
  damage: { write: 40, punch: 5, read: 10, sync: 5, close: 30, kill: 5 },
  full: {
    ...{ write: 45, punch: 5, read: 6, flush: 8, sync: 8, fill: 14 },
    ...{ checkpoint: 6, restore: 3, deleteCheckpoint: 2, close: 4, kill: 5 },
  },
  clocks: {
    ...{ write: 35, punch: 5, sync: 15, checkpoint: 6, deleteCheckpoint: 3, restore: 3 },
    ...{ forget: 4, close: 3, kill: 14, takeOver: 4, setClocks: 12 },
  },
  audits: {
    ...{ write: 35, punch: 5, sync: 15, checkpoint: 8, deleteCheckpoint: 4, restore: 3 },
    ...{ forget: 5, close: 8, kill: 5, forkOrDestroy: 5, scrub: 6, collect: 16 },
  },
  late: {
    ...{ write: 35, flush: 5, sync: 15, checkpoint: 5, restore: 2, close: 3 },
    ...{ kill: 8, takeOver: 12, wakeLate: 18 },
  },
  cuts: { write: 55, punch: 5, read: 5, sync: 20, checkpoint: 12, restore: 3 },
  forks: {
    ...{ write: 25, punch: 5, sync: 10, checkpoint: 8, restore: 5, deleteCheckpoint: 5 },
    ...{ forget: 12, close: 4, kill: 4, takeOver: 4, forkOrDestroy: 18 },
    ...{ scrub: 2, collect: 6 },
  },
};

export function chooseAction(scheduler: Scheduler, focus: Focus): Action {
  const entries = Object.entries(weights[focus]) as [Action, number][];
  const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
  let at = scheduler.random() * total;
  for (const [action, weight] of entries) {
    at -= weight;
    if (at < 0) return action;
  }
  return "write";
}
