/**
 * The time and the luck of one simulated world. Whatever the engine waits for, a file, a request or a timer,
 * is an event here, and events happen one after the other in an order that the seed decides. Nothing else
 * moves: between two events all promises that can go on have gone on.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { must } from "../../../../base/assert.ts";
import { seededRandom } from "../../testing/faulty-store.ts";
import type { SimulatedProcess } from "./simulated-process.ts";

/** Events of a world in which something goes round in circles. */
const eventsMax = 60_000;

interface Event {
  dueMs: number;
  order: number;
  process: SimulatedProcess | null;
  run: () => void;
}

export class Scheduler {
  readonly random: () => number;
  readonly context = new AsyncLocalStorage<SimulatedProcess>();
  /** Calls what belongs to no process. */
  readonly leave: <T>(work: () => T) => T = AsyncLocalStorage.snapshot();
  nowMs = 0;
  /** How far the machines' clocks are ahead of the bucket's; they were set. */
  clockAheadMs = 0;
  /** Of everything that happened, in order: two runs of one seed have the same. */
  traceHash = 0x811c9dc5;
  eventCount = 0;
  /** Said of every step when somebody wants to read along. */
  onTrace: ((line: string) => void) | null = null;
  #queue: Event[] = [];
  #order = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** A whole number below `count`. */
  pick(count: number): number {
    return Math.floor(this.random() * count);
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  choose<T>(from: readonly T[]): T {
    return must(from[this.pick(from.length)], "there is something to choose from");
  }

  trace(line: string): void {
    let hash = this.traceHash;
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    this.traceHash = hash >>> 0;
    this.onTrace?.(`${this.nowMs.toFixed(1).padStart(9)} ${line}`);
  }

  /** Lets something happen later, in a process or in the world. Returns what takes it back. */
  schedule(delayMs: number, process: SimulatedProcess | null, run: () => void): () => void {
    const event = { dueMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, process, run };
    this.#insert(event);
    return () => {
      const at = this.#queue.indexOf(event);
      if (at >= 0) this.#queue.splice(at, 1);
    };
  }

  /** For whoever drives the world. */
  async sleep(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.schedule(ms, null, resolve));
  }

  /** Runs until the work is done. @throws when it never will be */
  async drive<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const settled = work.finally(() => (isDone = true));
    settled.catch(() => undefined);
    for (;;) {
      // It comes when no promise has anything left to do, and unlike a turn of the event loop asks no kernel.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      if (isDone) return await settled;
      const event = this.#queue.shift();
      if (event === undefined) throw new Error("the world stands still: something waits for ever");
      if (++this.eventCount > eventsMax) throw new Error("the world goes round in circles");
      this.nowMs = Math.max(this.nowMs, event.dueMs);
      this.#fire(event);
    }
  }

  #fire({ process, run }: Event): void {
    if (process === null) return run();
    if (process.isDead) return;
    if (process.isPaused) process.hold(run);
    else process.enter(run);
  }

  #insert(event: Event): void {
    let low = 0;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#queue[middle] as Event).dueMs <= event.dueMs) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, event);
  }
}

let current: Scheduler | null = null;

/** The world that the stand-ins belong to: one at a time in a process. */
export function scheduler(): Scheduler {
  return must(current, "a world is being simulated");
}

export function useScheduler(next: Scheduler | null): void {
  current = next;
}

/** The simulated process that runs; null for the world itself, whose files are just files. */
export function runningProcess(): SimulatedProcess | null {
  return current?.context.getStore() ?? null;
}
