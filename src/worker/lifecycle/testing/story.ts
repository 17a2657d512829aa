/** A random story of a few sprites on the machine of machine.ts, and what must hold at its end, whatever happened. */
import assert from "node:assert/strict";
import { createLog } from "../../../base/log.ts";
import { SpriteError } from "../../../contract/errors.ts";
import type { SpriteStatus } from "../../../contract/sprite.ts";
import type * as lives from "../sprite-life.ts";
import { FakeProcess, Machine, settled } from "./machine.ts";

export const spriteIds = ["a", "b"] as const;

export type Act =
  | { do: "request" | "restore" | "doze" | "retire" | "sleep" | "stop" | "destroy"; sprite: string }
  | { do: "crash_agent"; sprite: string; isReplaced: boolean }
  | { do: "crash_worker" | "fail_next_start" | "bucket_away" | "bucket_back" }
  /** Lets one step of those that wait go on. */
  | { do: "go"; which: number }
  /** So much time passes while nothing goes on. */
  | { do: "wait"; ms: number };

const log = createLog({ level: "silent", room: "worker" });

type LifeClass = typeof lives.SpriteLife;

export class Story {
  readonly machine = new Machine();
  readonly #Life: LifeClass;
  readonly #passTime: (ms: number) => void;
  #lives = new Map<string, lives.SpriteLife<string>>();
  /** As told by the events, which is what the registry would believe. */
  readonly #told = new Map<string, SpriteStatus>();
  readonly #asked: Promise<void>[] = [];
  /** Why a request may fail, beside the sprite's end. */
  #mayFail = { starting: false, stopped: new Set<string>(), crashed: new Set<string>() };
  #server = 0;

  constructor(Life: LifeClass, passTime: (ms: number) => void) {
    this.#Life = Life;
    this.#passTime = passTime;
  }

  async run(acts: readonly Act[]): Promise<void> {
    for (const act of acts) {
      this.#act(act);
      await settled();
      this.#assertSafe();
    }
    await this.#rest();
    this.#assertAgreement();
    await this.#assertAlive();
  }

  #act(act: Act): void {
    const { machine } = this;
    switch (act.do) {
      case "request":
      case "restore":
        return this.#spawn(this.#request(act.sprite));
      case "doze":
        this.#processOf(act.sprite)?.fallAsleep();
        return;
      case "retire":
        this.#spawn(this.#retire(act.sprite));
        return;
      case "sleep":
        this.#spawn(this.#sleep(act.sprite));
        return;
      case "stop":
        this.#mayFail.stopped.add(act.sprite);
        this.#spawn(this.#lifeOf(act.sprite).stop("asked"));
        return;
      case "destroy":
        this.#spawn(this.#destroy(act.sprite));
        return;
      case "crash_agent":
        this.#mayFail.crashed.add(act.sprite);
        this.#processOf(act.sprite)?.crashAgent(act);
        return;
      case "crash_worker":
        return this.#crashWorker();
      case "fail_next_start":
        this.#mayFail.starting = true;
        machine.failsNextStart = true;
        return;
      case "bucket_away":
      case "bucket_back":
        machine.isBucketAway = act.do === "bucket_away";
        return;
      case "go":
        this.#spawn(machine.letGo(act.which));
        return;
      case "wait":
        for (const id of spriteIds) this.#mayFail.crashed.add(id);
        this.#passTime(act.ms);
    }
  }

  #spawn(work: Promise<unknown>): void {
    const asked = work.then(() => undefined);
    // What it rejects with is seen at the end, if its server lives so long.
    asked.catch(() => undefined);
    this.#asked.push(asked);
  }

  #crashWorker(): void {
    for (const id of spriteIds) {
      this.#mayFail.crashed.add(id);
      this.#told.delete(id);
    }
    this.machine.crash();
    this.#server += 1;
    this.#lives = new Map();
    // Nobody hears any more what the dead server's requests come to.
    this.#asked.length = 0;
    // The next server reads in its registry what is to go, before anybody can ask for it.
    for (const id of spriteIds) {
      if (this.machine.diskOf(id).isDestroyed) this.#spawn(this.#destroy(id));
    }
  }

  /** Null for one whose server died under it. */
  async #request(spriteId: string): Promise<void> {
    const server = this.#server;
    const disk = this.machine.diskOf(spriteId);
    let isLetIn = false;
    try {
      const { socketPath } = await this.#lifeOf(spriteId).need(spriteId, "a request");
      const process = this.machine.processes.get(Number(socketPath));
      if (process === undefined || !process.isServing) {
        throw new SpriteError("unavailable", "nobody is there");
      }
      isLetIn = true;
      process.onTheWay += 1;
      await this.machine.step("connect").finally(() => (process.onTheWay -= 1));
      await process.answer(() => (disk.written += 1));
    } catch (error) {
      if (server === this.#server) this.#assertExcused(spriteId, error, isLetIn);
    }
  }

  /** Who asks for a sprite that is being stopped gets the next start; only who was let in before goes with it. */
  #assertExcused(spriteId: string, error: unknown, isLetIn: boolean): void {
    assert.ok(error instanceof SpriteError, String(error));
    const { starting, stopped, crashed } = this.#mayFail;
    const isUnlucky = crashed.has(spriteId) || this.machine.diskOf(spriteId).isDestroyed;
    if (error.code === "not_found" && this.machine.diskOf(spriteId).isDestroyed) return;
    if (error.code === "start_failed" && (starting || isUnlucky)) return;
    if (error.code === "unavailable" && isUnlucky) return;
    if (error.code === "unavailable" && isLetIn && stopped.has(spriteId)) return;
    throw error;
  }

  async #retire(spriteId: string): Promise<void> {
    const process = this.#processOf(spriteId);
    await this.#lifeOf(spriteId).retire(
      "it had slept for long",
      async () => (await process?.mayEnd(true)) ?? null,
    );
  }

  async #sleep(spriteId: string): Promise<void> {
    try {
      await this.#lifeOf(spriteId).sleep("asked", async ({ socketPath }) => {
        const process = this.machine.processes.get(Number(socketPath));
        return (await process?.mayEnd(false)) ?? null;
      });
    } catch (error) {
      // It is needed, or it did not come up.
      assert.ok(error instanceof SpriteError, String(error));
    }
  }

  async #destroy(spriteId: string): Promise<void> {
    const disk = this.machine.diskOf(spriteId);
    disk.isDestroyed = true;
    await this.#lifeOf(spriteId).destroy();
    disk.stored = 0;
    disk.written = 0;
  }

  #processOf(spriteId: string): FakeProcess | undefined {
    return [...this.machine.processes.values()].find((process) => process.spriteId === spriteId);
  }

  #lifeOf(spriteId: string): lives.SpriteLife<string> {
    const known = this.#lives.get(spriteId);
    if (known !== undefined) return known;
    const server = this.#server;
    const life = new this.#Life<string>({
      makeProcess: (id, hooks) => new FakeProcess(this.machine, id, hooks),
      onStatus: (status) => {
        if (server !== this.#server) return;
        if ((this.#told.get(spriteId) ?? "cold") === status) {
          this.machine.violate(`told twice that ${spriteId} is ${status}`);
        }
        this.#told.set(spriteId, status);
      },
      onStuck: () => undefined,
      log,
    });
    this.#lives.set(spriteId, life);
    return life;
  }

  /** Everything that waits gets what it waits for. */
  async #rest(): Promise<void> {
    await this.machine.letAllGo();
    const all = Promise.all(this.#asked).then(() => true);
    const isOver = await Promise.race([
      all,
      settled()
        .then(() => settled())
        .then(() => false),
    ]);
    assert.ok(isOver, "somebody waits for ever");
  }

  #assertSafe(): void {
    assert.deepEqual(this.machine.violations, []);
  }

  #assertAgreement(): void {
    this.#assertSafe();
    const { machine } = this;
    for (const id of spriteIds) {
      const process = this.#processOf(id);
      const life = this.#lifeOf(id);
      const expected = process === undefined ? "cold" : process.isFrozen ? "warm" : "running";
      assert.equal(life.status, expected, `the status of ${id}`);
      assert.equal(this.#told.get(id) ?? "cold", expected, `what was told of ${id}`);
      assert.equal(life.transition, null, `${id} is on the way to nothing`);
      assert.equal(machine.mounts.get(id), process?.number, `the mount of ${id}`);
      assert.equal(machine.leases.get(id), process?.number, `the lease of ${id}`);
      const disk = machine.diskOf(id);
      if (!disk.isDestroyed) continue;
      assert.equal(process, undefined, `${id} is destroyed`);
      assert.deepEqual([disk.written, disk.stored], [0, 0]);
    }
    assert.equal(machine.slots.size, machine.processes.size, "slots");
  }

  /** Whatever happened, a sprite that is there serves, and one that is put to sleep then has all in the bucket. */
  async #assertAlive(): Promise<void> {
    this.machine.isBucketAway = false;
    this.machine.failsNextStart = false;
    for (const id of spriteIds) {
      const disk = this.machine.diskOf(id);
      if (disk.isDestroyed) continue;
      const { written } = disk;
      this.#mayFail = { starting: false, stopped: new Set(), crashed: new Set() };
      this.#asked.length = 0;
      this.#spawn(this.#request(id));
      await settled();
      await this.#rest();
      assert.equal(disk.written, written + 1, `${id} serves`);
      this.#spawn(this.#lifeOf(id).stop("the end"));
      await settled();
      await this.#rest();
      assert.equal(disk.stored, disk.written, `${id} is stored`);
      assert.equal(this.#lifeOf(id).status, "cold");
    }
    assert.equal(this.machine.processes.size + this.machine.slots.size, 0);
  }
}
