/**
 * One seed's world: machines, a bucket that fails, and volumes on them, of which one story is told. Whatever
 * happens, what is found afterwards is held against the models, and the bucket is watched all the time.
 */
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FaultScript, type FaultRule } from "../../../object-store/testing/fault-script.ts";
import { MemoryObjectStore } from "../../../object-store/testing/memory-object-store.ts";
import type { LeaseClock } from "../../../lease/clock.ts";
import { setTimeout as delay } from "./stand-ins/timers-promises.ts";
import { focuses, type Focus } from "./actions.ts";
import { BucketChecker } from "./bucket-checker.ts";
import { freeBytesMin, retentionMs, unitCounts } from "./limits.ts";
import { Machine } from "./machine.ts";
import { Scheduler, useScheduler } from "./scheduler.ts";
import { isDiskFull, isExpected, type Session } from "./session.ts";
import type { SimulatedDisk } from "./simulated-disk.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import { tellStory } from "./story.ts";
import { trueMs, worldClock } from "./virtual-time.ts";

export interface WorldReport {
  seed: number;
  /** Null when every promise was kept. */
  problem: string | null;
  traceHash: number;
  events: number;
  steps: number;
  crashes: number;
  requests: number;
}

const minuteMs = 60_000;
/** Of a full disk: about a unit and what its log needs. */
const pagesLeftMax = 24;

/** A promise that was broken; everything else that is thrown is a fault too, but of less known meaning. */
export class BrokenPromise extends Error {}

export class World {
  readonly scheduler: Scheduler;
  readonly store: MemoryObjectStore;
  readonly faults: FaultScript;
  readonly checker: BucketChecker;
  readonly clock: LeaseClock;
  readonly machines: readonly Machine[];
  /** Sessions that others have gone on from, and that do not know it yet. */
  readonly ghosts: Session[] = [];
  readonly unitCount: number;
  readonly cacheUnits: number;
  readonly focus: Focus;
  /** Every write and every checkpoint of a world has a number of its own. */
  writeCount = 0;
  faultRules: readonly FaultRule[] = [];
  crashCount = 0;
  stepCount = 0;
  /** Some disk was; what began then may fail of it later. */
  wasFull = false;
  /** By how much clocks were set back: so much longer is kept what was new then. */
  setBackMs = 0;
  wasSetAhead = false;
  /** Nothing dies any more. */
  isCalm = false;

  constructor(seed: number, root: string, focus: Focus | null) {
    const scheduler = new Scheduler(seed);
    this.scheduler = scheduler;
    const { nowMs } = worldClock(scheduler);
    this.clock = {
      nowMs,
      monotonicMs: () => scheduler.nowMs,
      wait: (ms, signal) => wait(ms, signal),
    };
    this.faults = new FaultScript([], { random: scheduler.random, now: () => scheduler.nowMs });
    this.store = new MemoryObjectStore({
      now: () => trueMs(scheduler),
      random: scheduler.random,
      delay: (ms) => scheduler.sleep(ms),
      faults: this.faults,
    });
    this.checker = new BucketChecker({ nowsMs: () => [nowMs(), scheduler.nowMs], retentionMs });
    this.store.onChange = (key, bytes, before) => {
      scheduler.trace(`bucket ${bytes === null ? "loses" : "has"} ${key} ${bytes?.length ?? 0}`);
      this.checker.onChange(key, bytes, before);
    };
    this.machines = ["a", "b"].map((name) => new Machine(name, root, scheduler));
    this.unitCount = scheduler.choose(unitCounts);
    this.cacheUnits = scheduler.choose([2, 3, 6, 20]);
    this.focus = focus ?? scheduler.choose(focuses);
  }

  static async run(
    seed: number,
    options: { onTrace?: (line: string) => void; focus?: Focus } = {},
  ): Promise<WorldReport> {
    const root = mkdtempSync(join(worldsDirectory(), `sim-${process.pid}-`));
    const world = new World(seed, root, options.focus ?? null);
    world.scheduler.onTrace = options.onTrace ?? null;
    useScheduler(world.scheduler);
    let problem: string | null = null;
    try {
      await world.scheduler.drive(tellStory(world));
      world.verifyBucket();
    } catch (error) {
      problem = error instanceof BrokenPromise ? error.message : String((error as Error).stack);
    } finally {
      for (const machine of world.machines) machine.end();
      useScheduler(null);
      rmSync(root, { recursive: true, force: true });
    }
    const { traceHash, eventCount: events } = world.scheduler;
    const counts = Object.values(world.store.statistics().requests);
    const requests = counts.reduce((sum, count) => sum + count, 0);
    const { stepCount: steps, crashCount: crashes } = world;
    return { seed, problem, traceHash, events, steps, crashes, requests };
  }

  /** @throws BrokenPromise when the bucket was ever wrong */
  verifyBucket(): void {
    if (this.checker.problem !== null) this.fail(this.checker.problem);
  }

  fail(problem: string): never {
    throw new BrokenPromise(problem);
  }

  /** An error that no fault of the bucket explains is a broken promise. */
  expect(error: unknown, what: string): void {
    if (isExpected(error)) return;
    if (this.wasFull && isDiskFull(error)) return;
    // A list that misses the newest transaction looks like a bucket that has lost it.
    if (/stored before: is it the right bucket/.test(String(error)) && this.isListStale) return;
    throw new Error(`${what} failed for no reason: ${String(error)}`, { cause: error });
  }

  endStaleLists(): void {
    this.setFaults(this.faultRules.filter(({ fault }) => fault.kind !== "stale-list"));
  }

  /** The list of a chain is allowed to be behind at present. */
  get isListStale(): boolean {
    return this.faultRules.some(({ fault }) => fault.kind === "stale-list");
  }

  fill(disk: SimulatedDisk): void {
    this.wasFull = true;
    disk.fill(this.scheduler.pick(pagesLeftMax));
  }

  relieveDisks(): void {
    for (const machine of this.machines) machine.relieveDisks();
  }

  get bucketNowMs(): number {
    return trueMs(this.scheduler);
  }

  /** Somebody sets the machines' clocks: ahead by hours, or back by minutes. */
  setClocks(): void {
    const { scheduler } = this;
    const minutes = scheduler.chance(0.5) ? 60 * (1 + scheduler.pick(48)) : -1 - scheduler.pick(2);
    scheduler.trace(`clocks go by ${minutes} minutes`);
    scheduler.clockAheadMs += minutes * minuteMs;
    if (minutes > 0) this.wasSetAhead = true;
    if (minutes < 0) this.setBackMs -= minutes * minuteMs;
  }

  setFaults(rules: readonly FaultRule[]): void {
    this.faultRules = rules;
    this.faults.setRules(rules);
  }

  endTroubles(): void {
    this.setFaults([]);
    this.relieveDisks();
  }

  killGhosts(machine: Machine): void {
    for (const ghost of this.ghosts) if (ghost.machine === machine) ghost.process.crash("process");
  }

  planCrash(process: SimulatedProcess, share: number): void {
    const { scheduler } = this;
    process.onCrash = () => this.crashCount++;
    if (this.isCalm || !scheduler.chance(share)) return;
    const kind = scheduler.chance(0.5) ? "host" : "process";
    const moment = scheduler.choose(["before", "during", "after"] as const);
    // Many at the very next steps, some much later.
    const steps = 1 + Math.floor(scheduler.random() ** 2 * 90);
    process.plan = { kind, steps, moment };
  }
}

/** In memory, where there is enough of it: a container may have very little. */
function worldsDirectory(): string {
  const inMemory = "/dev/shm";
  if (!existsSync(inMemory)) return tmpdir();
  const { bavail, bsize } = statfsSync(inMemory);
  return bavail * bsize < freeBytesMin ? tmpdir() : inMemory;
}

async function wait(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal === undefined ? {} : { signal });
}
