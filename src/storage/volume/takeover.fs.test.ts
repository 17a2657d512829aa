import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { BlockMap } from "../block-map/block-map.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { systemClock } from "../lease/clock.ts";
import { FaultScript, type FaultRule } from "../object-store/testing/fault-script.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import { listChainOf, openChain, restoreMap } from "./map-chain.ts";
import { seededRandom } from "./testing/faulty-store.ts";

const unitCount = 12;
const blockCount = unitCount * 16;
const prefix = "sprites/contested";
const stepsPerRun = 40;

const troubles: FaultRule[] = [
  { fault: { kind: "unavailable" }, chance: 0.05 },
  { fault: { kind: "lost-reply", isReadBack: false }, chance: 0.08 },
  { fault: { kind: "lost-request", isReadBack: false }, chance: 0.04 },
  { fault: { kind: "late", afterRequests: 2 }, chance: 0.04 },
  { fault: { kind: "duplicate", afterRequests: 3 }, chance: 0.05 },
  { fault: { kind: "stale-list", changes: 2 }, chance: 0.2 },
  { fault: { kind: "partial-delete" }, chance: 0.1 },
];

/** One machine that has the volume open, or still believes to. */
interface Machine {
  name: string;
  engine: VolumeEngine;
}

/** Machines that take one volume from each other while the former holders go on, on a store that fails. */
class Contest {
  readonly #directory = mkdtempSync(join(tmpdir(), "opensprites-contest-"));
  readonly #random: () => number;
  readonly #store: MemoryObjectStore;
  readonly #faults: FaultScript;
  #holder: Machine | null = null;
  readonly #zombies: Machine[] = [];
  #moves = 0;
  #guest = Buffer.alloc(unitCount * unitSizeBytes);
  /** Hashes of what the guest saw, since the last state that the bucket is known to have. */
  #states: string[] = [];

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#faults = new FaultScript([], { random: this.#random, now: Date.now });
    this.#store = new MemoryObjectStore({ faults: this.#faults, random: this.#random });
  }

  static async run(seed: number): Promise<void> {
    const contest = new Contest(seed);
    try {
      await contest.#run();
    } finally {
      contest.#faults.setRules([]);
      const all = [contest.#holder, ...contest.#zombies].filter((machine) => machine !== null);
      for (const { engine } of all) await engine.abandon().catch(() => undefined);
      rmSync(contest.#directory, { recursive: true, force: true });
    }
  }

  async #run(): Promise<void> {
    await this.#take("machine-0");
    this.#states = [this.#hash()];
    for (let step = 0; step < stepsPerRun; step++) {
      this.#faults.setRules(this.#random() < 0.5 ? [] : troubles);
      const choice = this.#random();
      if (choice < 0.5) await this.#write();
      else if (choice < 0.65) await this.#sync();
      else if (choice < 0.8) await this.#zombieWrites();
      else if (choice < 0.9) await this.#move();
      else await this.#crash();
    }
    this.#faults.setRules([]);
    this.#store.settle();
    await this.#volume.sync();
    await this.#verifyBucket();
    this.#states = [this.#hash()];
    await this.#move();
  }

  get #volume(): VolumeEngine {
    assert.ok(this.#holder);
    return this.#holder.engine;
  }

  async #take(name: string): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      try {
        const engine = await VolumeEngine.open({
          store: this.#store,
          prefix,
          server: name,
          cacheDirectory: join(this.#directory, name),
          cacheSizeBytesMax: 2 ** 30,
          sizeBytes: unitCount * unitSizeBytes,
          readOnly: false,
          syncIntervalMs: 2,
          onProblem: () => undefined,
          clock: systemClock,
          random: this.#random,
          retryMsMin: 1,
          retentionMs: 0,
        });
        this.#holder = { name, engine };
        return;
      } catch (error) {
        assert.match(String(error), /SpriteError/, String((error as Error).stack));
      }
    }
    assert.fail("the volume cannot be opened");
  }

  async #write(): Promise<void> {
    const first = Math.floor(this.#random() * blockCount);
    const count = Math.min(1 + Math.floor(this.#random() * 20), blockCount - first);
    const bytes = Buffer.alloc(count * blockSizeBytes, 1 + Math.floor(this.#random() * 200));
    await this.#patiently(() => this.#volume.live.write(first * blockSizeBytes, bytes));
    this.#guest.set(bytes, first * blockSizeBytes);
    this.#states.push(this.#hash());
  }

  async #sync(): Promise<void> {
    await this.#volume.sync();
    this.#states = [this.#hash()];
  }

  /** Whoever was taken over never hears that something of its is stored. */
  async #zombieWrites(): Promise<void> {
    const zombie = this.#zombies.at(-1);
    if (zombie === undefined) return;
    await zombie.engine.live.write(0, Buffer.alloc(blockSizeBytes, 255));
    await assert.rejects(zombie.engine.sync(), { details: { isFenced: true } });
    if (this.#random() < 0.5) return;
    this.#zombies.pop();
    // A kill leaves its local state, which must not be used when the volume comes back to that machine.
    if (this.#random() < 0.5) return await zombie.engine.abandon();
    await assert.rejects(zombie.engine.close({ discard: false }), /taken over/);
  }

  /** Another machine takes the volume; the former holder does not know. */
  async #move(): Promise<void> {
    if (this.#holder !== null) this.#zombies.push(this.#holder);
    const name = `machine-${Math.floor(this.#random() * 3)}`;
    // Two processes never share a cache directory: the worker starts one when the other has ended.
    const isOpenThere = this.#zombies.some((zombie) => zombie.name === name);
    await this.#take(isOpenThere ? `machine-${3 + this.#moves++}` : name);
    await this.#verifyTaken();
  }

  /** The process dies, and the same machine opens the volume again: nothing is lost. */
  async #crash(): Promise<void> {
    const { name, engine } = this.#holder ?? assert.fail("somebody holds the volume");
    await engine.abandon();
    this.#holder = null;
    await this.#take(name);
    assert.equal(hashOf(await this.#readAll()), this.#hash(), "a crash loses nothing");
  }

  async #verifyTaken(): Promise<void> {
    this.#guest = Buffer.from(await this.#readAll());
    assert.ok(this.#states.includes(this.#hash()), "the bucket has a prefix of the writes");
    this.#states = [this.#hash()];
  }

  #readAll(): Promise<Uint8Array> {
    return this.#patiently(() => this.#volume.live.read(0, unitCount * unitSizeBytes));
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (tries === 100) throw error;
      }
    }
  }

  /** What the newest metadata names is there, whole. */
  async #verifyBucket(): Promise<void> {
    const place = { store: this.#store, prefix, clock: systemClock };
    const path = join(this.#directory, "checked.db");
    const chain = openChain(place, { writer: "0", files: await listChainOf(place) });
    await restoreMap(place, chain, path);
    const map = BlockMap.open(path);
    assert.deepEqual(map.checkIntegrity(), []);
    const contents = this.#store.contents();
    for (const { key, sizeBytes, isGarbage } of map.segments()) {
      if (isGarbage) continue;
      assert.equal(contents.get(`${prefix}/${key}`)?.length, sizeBytes, `segment ${key}`);
    }
    map.close();
  }

  #hash(): string {
    return hashOf(this.#guest);
  }
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const firstSeed = Number(process.env["SIMULATION_SEED"] ?? 1);
const runs = Number(process.env["SIMULATION_RUNS"] ?? (firstSeed === 1 ? 8 : 1));
for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  test(`machines that take a volume from each other have one history (seed ${seed})`, async () => {
    await Contest.run(seed);
  });
}
