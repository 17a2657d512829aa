/**
 * A machine in memory for tests of a sprite's life: processes, slots, mounts, leases and a bucket that can be compared afterwards. Whatever
 * takes time there waits until the test lets it go on, in any order.
 */
import { SpriteError } from "../../../contract/errors.ts";
import type { LifeProcess, ProcessHooks, Served } from "../sprite-life.ts";

/** More than any story has requests: a loop that waits for nothing would never come to an end. */
const asksInARowMax = 1_000;

interface Step {
  what: string;
  go: () => void;
}

export interface Disk {
  /** What was written, and what of it is in the bucket. */
  written: number;
  stored: number;
  isDestroyed: boolean;
}

export class Machine {
  readonly steps: Step[] = [];
  readonly slots = new Set<number>();
  /** By sprite: the process that has its disk mounted, and the one that has its lease. */
  readonly mounts = new Map<string, number>();
  readonly leases = new Map<string, number>();
  readonly disks = new Map<string, Disk>();
  readonly processes = new Map<number, FakeProcess>();
  /** What must never be, as soon as it is. */
  readonly violations: string[] = [];
  failsNextStart = false;
  isBucketAway = false;
  /** A deliberate bug: what a sprite that ended leaves behind. */
  forgets: "slot" | "mount" | "lease" | null = null;
  /** Of who asks a process whether it is ready, since anything was let go. */
  asksInARow = 0;
  #count = 0;

  nextNumber(): number {
    return (this.#count += 1);
  }

  diskOf(spriteId: string): Disk {
    const disk = this.disks.get(spriteId) ?? { written: 0, stored: 0, isDestroyed: false };
    this.disks.set(spriteId, disk);
    return disk;
  }

  /** Resolves when the test lets it. */
  async step(what: string): Promise<void> {
    await new Promise<void>((go) => this.steps.push({ what, go }));
  }

  /** Lets one of those that wait go on, and everything that follows from it without waiting. */
  async letGo(index: number): Promise<void> {
    this.asksInARow = 0;
    const [step] = this.steps.splice(index % Math.max(this.steps.length, 1), 1);
    step?.go();
    await settled();
  }

  async letAllGo(): Promise<void> {
    await settled();
    for (let count = 0; this.steps.length > 0; count += 1) {
      if (count > 10_000) throw new Error("it never comes to rest");
      await this.letGo(0);
    }
  }

  violate(what: string): void {
    this.violations.push(what);
  }

  /** Every process dies in the same moment, as when the machine's power fails or its worker is killed with all agents. */
  crash(): void {
    for (const process of this.processes.values()) process.vanish();
    this.processes.clear();
    this.slots.clear();
    this.mounts.clear();
    // The same server's next agents take over what its dead ones had.
    this.leases.clear();
    this.steps.length = 0;
  }
}

/** Everything that waits for nothing but its turn has had it. */
export async function settled(): Promise<void> {
  await new Promise(setImmediate);
}

type Readiness = PromiseWithResolvers<Served>;

/** What `SpriteProcess` and an agent do, on that machine. */
export class FakeProcess implements LifeProcess {
  readonly ended: Promise<void>;
  readonly number: number;
  readonly spriteId: string;
  isFrozen = false;
  /** Requests that were let in and have not arrived. */
  onTheWay = 0;
  answering = 0;
  readonly #machine: Machine;
  readonly #hooks: ProcessHooks;
  readonly #slot: number;
  readonly #end = Promise.withResolvers<void>();
  #readiness: Readiness = quietly();
  /** Counts agents: what one began is nobody's when the next one serves. */
  #agent = 0;
  #isServing = false;
  #isStopAsked = false;
  #discards = false;
  #isGone = false;
  #nap: Promise<void> | null = null;

  constructor(machine: Machine, spriteId: string, hooks: ProcessHooks) {
    this.#machine = machine;
    this.spriteId = spriteId;
    this.#hooks = hooks;
    this.number = machine.nextNumber();
    this.#slot = this.number;
    this.ended = this.#end.promise;
    for (const other of machine.processes.values()) {
      if (other.spriteId === spriteId) machine.violate(`two processes of ${spriteId}`);
    }
    if (machine.diskOf(spriteId).isDestroyed) machine.violate(`${spriteId} starts after its end`);
    machine.processes.set(this.number, this);
    machine.slots.add(this.#slot);
    void this.#boot();
  }

  get isServing(): boolean {
    return this.#isServing && !this.#isGone;
  }

  ready(): Promise<Served> {
    const machine = this.#machine;
    machine.asksInARow += 1;
    if (machine.asksInARow > asksInARowMax) throw new Error("somebody asks without end");
    return this.#readiness.promise;
  }

  async stop({ discard }: { discard: boolean }): Promise<void> {
    this.#discards ||= discard;
    if (!this.#isStopAsked) {
      this.#isStopAsked = true;
      if (this.#isServing) void this.#stopInOrder();
    }
    await this.ended;
  }

  killAgent(): void {
    this.crashAgent({ isReplaced: true });
  }

  crashAgent({ isReplaced }: { isReplaced: boolean }): void {
    if (this.#isGone) return;
    this.#agent += 1;
    this.#nap = null;
    this.answering = 0;
    if (!this.#isServing || this.#isStopAsked || !isReplaced) {
      this.#vanished(new SpriteError("start_failed", "the agent ended"));
      return;
    }
    this.#isServing = false;
    this.#readiness = quietly();
    void this.#takeOver();
  }

  /** Gone without a word, and without anybody who would clear up. */
  vanish(): void {
    this.#agent += 1;
    this.#isGone = true;
  }

  /** Suspends it, as its agent does by itself when nothing goes on. */
  fallAsleep(): void {
    if (!this.#isServing || this.isFrozen || this.#nap !== null || this.#isStopAsked) return;
    if (this.answering > 0) return;
    this.#nap = this.#freeze().finally(() => (this.#nap = null));
  }

  /** A request arrives; it has been answered when this settles. @throws SpriteError */
  async answer(work: () => void): Promise<void> {
    const agent = this.#agent;
    this.answering += 1;
    await this.#wake();
    if (this.#isGone || this.#agent !== agent || !this.#isServing) {
      throw new SpriteError("unavailable", "the agent has gone");
    }
    if (this.isFrozen) this.#machine.violate("a request is answered by a suspended sprite");
    work();
    await this.#machine.step("answer");
    if (this.#agent !== agent) throw new SpriteError("unavailable", "the agent has gone");
    this.answering -= 1;
  }

  /** The agent's answer to whether it may end, in which those arrive who are on the way. */
  async mayEnd(isSleeper: boolean): Promise<SpriteError | null> {
    await this.#machine.step("ask");
    const isNeeded = this.onTheWay > 0 || this.answering > 0 || !this.#isServing;
    if (isNeeded || (isSleeper && !this.isFrozen)) return new SpriteError("busy", "it is needed");
    return null;
  }

  async #boot(): Promise<void> {
    const machine = this.#machine;
    await machine.step("boot");
    if (this.#isGone) return;
    if (machine.failsNextStart && !this.#isStopAsked) {
      machine.failsNextStart = false;
      return this.#vanished(new SpriteError("start_failed", "as the test wanted"));
    }
    if (this.#isStopAsked) return this.#vanished(new SpriteError("unavailable", "it has stopped"));
    if (machine.leases.has(this.spriteId)) machine.violate(`${this.spriteId} has two owners`);
    machine.leases.set(this.spriteId, this.number);
    machine.mounts.set(this.spriteId, this.number);
    this.#serve();
  }

  async #takeOver(): Promise<void> {
    const agent = this.#agent;
    await this.#machine.step("take over");
    if (this.#isGone || this.#agent !== agent) return;
    if (this.#isStopAsked) return this.#vanished(new SpriteError("unavailable", "it has stopped"));
    this.#serve();
  }

  #serve(): void {
    this.#isServing = true;
    this.isFrozen = false;
    this.#hooks.onRest("awake", "its agent is new");
    this.#readiness.resolve({ socketPath: String(this.number) });
  }

  async #freeze(): Promise<void> {
    const agent = this.#agent;
    this.#hooks.onRest("freezing", "idle");
    await this.#machine.step("freeze");
    if (this.#agent !== agent || this.#isGone) return;
    const isNeeded = this.answering > 0 || this.#isStopAsked;
    this.isFrozen = !isNeeded;
    this.#hooks.onRest(isNeeded ? "awake" : "frozen", "idle");
  }

  async #wake(): Promise<void> {
    const agent = this.#agent;
    while (this.#nap !== null) await this.#nap;
    if (!this.isFrozen || this.#agent !== agent) return;
    this.#nap = this.#thaw(agent).finally(() => (this.#nap = null));
    await this.#nap;
  }

  async #thaw(agent: number): Promise<void> {
    this.#hooks.onRest("thawing", "a request");
    await this.#machine.step("thaw");
    if (this.#agent !== agent || this.#isGone) return;
    this.isFrozen = false;
    this.#hooks.onRest("awake", "a request");
  }

  async #stopInOrder(): Promise<void> {
    const agent = this.#agent;
    const machine = this.#machine;
    const disk = machine.diskOf(this.spriteId);
    for (const what of ["end the services", "cut the disk", "let go of the lease"]) {
      await machine.step(what);
      if (this.#isGone || this.#agent !== agent) return;
      if (what === "cut the disk" && !machine.isBucketAway && !this.#discards) {
        disk.stored = disk.written;
      }
    }
    this.#vanished(new SpriteError("unavailable", "it has stopped"));
  }

  /** Nothing of it is left; what it could not store stays on the machine's disk. */
  #vanished(reason: SpriteError): void {
    const machine = this.#machine;
    this.#isGone = true;
    this.#isServing = false;
    const { forgets } = machine;
    const isOurs = (owners: Map<string, number>) => owners.get(this.spriteId) === this.number;
    if (forgets !== "mount" && isOurs(machine.mounts)) machine.mounts.delete(this.spriteId);
    if (forgets !== "lease" && isOurs(machine.leases)) machine.leases.delete(this.spriteId);
    if (forgets !== "slot") machine.slots.delete(this.#slot);
    machine.processes.delete(this.number);
    this.#readiness.reject(reason);
    this.#readiness = quietly();
    this.#readiness.reject(reason);
    this.#hooks.onEnded();
    this.#end.resolve();
  }
}

function quietly(): Readiness {
  const readiness = Promise.withResolvers<Served>();
  // It may be that nobody waits.
  readiness.promise.catch(() => undefined);
  return readiness;
}
