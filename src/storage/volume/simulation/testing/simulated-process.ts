/** A process on a simulated machine: it lives by steps, and dies at one of them when a crash is planned. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { SimulatedDisk } from "./simulated-disk.ts";
import type { Scheduler } from "./scheduler.ts";

export class CrashError extends Error {
  constructor() {
    super("the simulated process has crashed");
  }
}

/** What a dead process waits for does not come: its loops end here, whatever they catch. */
export function never(): Promise<never> {
  return new Promise(() => undefined);
}

export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** `process`: killed, what it wrote stays. `host`: the machine loses what was not synced. */
export type CrashKind = "process" | "host";

/** Where in a step the crash strikes. In the middle, half of a write may be done. */
export type CrashMoment = "before" | "during" | "after";

export interface CrashPlan {
  kind: CrashKind;
  /** Steps until then. */
  steps: number;
  moment: CrashMoment;
}

export class SimulatedProcess {
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly scheduler: Scheduler;
  /** Settles with how it died. */
  readonly died: Promise<CrashKind>;
  isDead = false;
  isPaused = false;
  /** Hears of its end; null for one that ended in order. */
  onEnd: ((kind: CrashKind | null) => void) | null = null;
  onCrash: (() => void) | null = null;
  plan: CrashPlan | null = null;
  /** Calls what belongs to this process. */
  readonly enter: <T>(work: () => T) => T;
  readonly #onDeath: (kind: CrashKind) => void;
  #held: (() => void)[] = [];
  readonly #closables = new Set<() => void>();
  /** How much of the file written last is kept, when the crash strikes in the middle of it. */
  torn: { path: string; before: Buffer } | null = null;

  constructor(name: string, disk: SimulatedDisk, scheduler: Scheduler) {
    this.name = name;
    this.disk = disk;
    this.scheduler = scheduler;
    const died = Promise.withResolvers<CrashKind>();
    this.died = died.promise;
    this.#onDeath = died.resolve;
    // Made once: entering a context makes a new map each time, which thousands of events would pay for.
    this.enter = scheduler.context.run(this, () => AsyncLocalStorage.snapshot());
  }

  /** Runs work of this process; never settles when the process dies meanwhile. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.enter(work);
  }

  /** @throws CrashError for code that goes on although its process is dead */
  check(): void {
    if (this.isDead) throw new CrashError();
  }

  /** Counts a step, and says whether the process dies at it. */
  takeStep(what: string): CrashMoment | null {
    this.scheduler.trace(`${this.name} ${what}`);
    if (this.plan === null || --this.plan.steps > 0) return null;
    return this.plan.moment;
  }

  /** Does something that the process waits for without letting go of its thread. */
  act<T>(what: string, work: () => T, partly?: () => void): T {
    this.check();
    const moment = this.takeStep(what);
    if (moment === "before") this.die();
    if (moment === "during" && partly !== undefined) {
      partly();
      this.die();
    }
    const result = work();
    if (moment !== null) this.die();
    return result;
  }

  /** Does something that takes a while; others go on meanwhile. */
  async wait<T>(what: string, delayMs: number, work: () => T): Promise<T> {
    if (this.isDead) return await never();
    return await new Promise<T>((resolve, reject) => {
      this.scheduler.schedule(delayMs, this, () => {
        try {
          resolve(this.act(what, work));
        } catch (error) {
          if (!this.isDead) reject(toError(error));
        }
      });
    });
  }

  /** Stops as a stopped machine does: what it waits for is there when it goes on. */
  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    for (const run of this.#held.splice(0)) this.scheduler.schedule(0, this, run);
  }

  hold(run: () => void): void {
    this.#held.push(run);
  }

  closeAtDeath(close: () => void): () => void {
    this.#closables.add(close);
    return () => this.#closables.delete(close);
  }

  /** Dies as planned. @throws CrashError always */
  die(): never {
    this.crash(this.plan?.kind ?? "process");
    throw new CrashError();
  }

  crash(kind: CrashKind): void {
    if (this.isDead) return;
    this.scheduler.trace(`${this.name} dies (${kind})`);
    this.isDead = true;
    this.plan = null;
    this.onCrash?.();
    this.disk.crash(kind, this.torn);
    this.#letGo();
    this.#onDeath(kind);
    this.onEnd?.(kind);
  }

  /** Ends in order: nothing of it goes on. */
  exit(): void {
    if (this.isDead) return;
    this.isDead = true;
    this.#letGo();
    this.onEnd?.(null);
  }

  #letGo(): void {
    this.#held = [];
    for (const close of this.#closables) close();
    this.#closables.clear();
  }
}
