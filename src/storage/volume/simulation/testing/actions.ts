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
  | "setClocks";

/**
 * `power`: what a machine has promised, and loses its power then. `durable`: what the bucket
 * has promised. `damage`: what lies here is changed while the volume is closed.
 * `cuts`: writes that come while one is made.
 */
export type Focus = "mixed" | "power" | "durable" | "forks" | "damage" | "cuts";

export const focuses: readonly Focus[] = [
  "mixed",
  "mixed",
  "mixed",
  "power",
  "durable",
  "forks",
  "damage",
  "cuts",
];

const weights: Readonly<Record<Focus, Readonly<Partial<Record<Action, number>>>>> = {
  mixed: {
    ...{ write: 36, punch: 6, read: 8, flush: 8, sync: 8 },
    ...{ checkpoint: 7, restore: 4, deleteCheckpoint: 2, setDurability: 2 },
    ...{ forget: 3, close: 4, kill: 3, takeOver: 4, forkOrDestroy: 5 },
    ...{ scrub: 2, collect: 3, setClocks: 2 },
  },
  power: {
    ...{ write: 40, punch: 5, read: 8, flush: 20, sync: 4 },
    ...{ checkpoint: 4, restore: 3, close: 4, kill: 15 },
  },
  durable: { write: 40, punch: 5, flush: 30, sync: 5, checkpoint: 5, kill: 5 },
  damage: { write: 40, punch: 5, read: 10, sync: 5, close: 30, kill: 5 },
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
