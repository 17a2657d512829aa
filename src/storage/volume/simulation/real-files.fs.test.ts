import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { BlockMap } from "../../block-map/block-map.ts";
import { blockSizeBytes, unitSizeBytes } from "../../block-map/geometry.ts";
import { DirectoryObjectStore } from "../../object-store/directory-object-store.ts";
import { VolumeEngine } from "../engine.ts";
import { FaultyStore, seededRandom } from "../testing/faulty-store.ts";

const unitCount = 24;
const blockCount = unitCount * 16;
const stepsPerRun = 70;
const prefix = "sprites/simulated";

/**
 * One seeded life of a volume on a store that fails, with crashes and moves; every read is compared
 * with a model.
 */
class Simulation {
  readonly #directory = mkdtempSync(join(tmpdir(), "opensprites-simulation-"));
  readonly #random: () => number;
  readonly #store: FaultyStore;
  #engine: VolumeEngine | null = null;
  #guest = Buffer.alloc(unitCount * unitSizeBytes);
  /** Hashes of the guest's view after each step, since the last known stored state. */
  #states: string[] = [];
  readonly #checkpoints = new Map<string, string>();

  constructor(seed: number, store: DirectoryObjectStore) {
    this.#random = seededRandom(seed);
    this.#store = new FaultyStore(store, this.#random);
  }

  static async run(seed: number): Promise<void> {
    const bucket = mkdtempSync(join(tmpdir(), "opensprites-bucket-"));
    const simulation = new Simulation(seed, await DirectoryObjectStore.open(bucket));
    try {
      await simulation.#run();
    } finally {
      simulation.#store.failureRate = 0;
      await simulation.#engine?.abandon().catch(() => undefined);
      rmSync(simulation.#directory, { recursive: true, force: true });
      rmSync(bucket, { recursive: true, force: true });
    }
  }

  async #run(): Promise<void> {
    await this.#open();
    this.#stored();
    for (let step = 0; step < stepsPerRun; step++) {
      this.#store.failureRate = this.#random() < 0.5 ? 0 : 0.2;
      await this.#step();
      this.#states.push(this.#hash());
    }
    await this.#verifyEnd();
  }

  async #step(): Promise<void> {
    const choice = this.#random();
    if (choice < 0.45) return this.#write();
    if (choice < 0.55) return this.#punch();
    if (choice < 0.7) return this.#read();
    if (choice < 0.77) return this.#sync();
    if (choice < 0.83) return this.#checkpoint();
    if (choice < 0.87) return this.#restore();
    if (choice < 0.9) return this.#deleteCheckpoint();
    if (choice < 0.95) return this.#crash();
    return this.#move();
  }

  get #volume(): VolumeEngine {
    assert.ok(this.#engine);
    return this.#engine;
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count);
  }

  async #open(): Promise<void> {
    for (;;) {
      try {
        this.#engine = await VolumeEngine.open({
          store: this.#store,
          prefix,
          cacheDirectory: join(this.#directory, "cache"),
          cacheSizeBytesMax: 6 * unitSizeBytes,
          sizeBytes: unitCount * unitSizeBytes,
          readOnly: false,
          syncIntervalMs: 3,
          onProblem: () => undefined,
          random: this.#random,
          retentionMs: 0,
          retryMsMin: 1,
        });
        return;
      } catch (error) {
        assert.match(String(error), /injected/);
      }
    }
  }

  async #write(): Promise<void> {
    const first = this.#pick(blockCount);
    const count = Math.min(1 + this.#pick(24), blockCount - first);
    const bytes = Buffer.alloc(count * blockSizeBytes, this.#pick(4));
    // Now and then of odd shape, as only a reader of the raw file would write.
    const offset = first * blockSizeBytes + (this.#random() < 0.1 ? 100 : 0);
    const fitting = bytes.subarray(0, Math.min(bytes.length, this.#guest.length - offset));
    await this.#retry(() => this.#volume.live.write(offset, fitting));
    this.#guest.set(fitting, offset);
  }

  async #punch(): Promise<void> {
    const first = this.#pick(blockCount);
    const length = Math.min(1 + this.#pick(64), blockCount - first) * blockSizeBytes;
    await this.#volume.live.punch(first * blockSizeBytes, length);
    this.#guest.fill(0, first * blockSizeBytes, first * blockSizeBytes + length);
  }

  async #read(): Promise<void> {
    const first = this.#pick(blockCount);
    const offset = first * blockSizeBytes;
    const length = Math.min(1 + this.#pick(64), blockCount - first) * blockSizeBytes;
    const found = await this.#retry(() => this.#volume.live.read(offset, length));
    assert.ok(this.#guest.subarray(offset, offset + length).equals(found), `read at ${first}`);
  }

  /** Reads fail when the store does; the guest would see EIO, and ask again. */
  async #retry<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        assert.match(String(error), /injected/);
      }
    }
  }

  async #sync(): Promise<void> {
    await this.#volume.sync();
    this.#stored();
  }

  async #checkpoint(): Promise<void> {
    const { completed } = await this.#volume.beginCheckpoint({ comment: "", isAuto: false });
    const hash = this.#hash();
    // The guest goes on while the cut is read.
    await this.#write();
    const after = this.#hash();
    try {
      const { id } = await completed;
      this.#checkpoints.set(id, hash);
      this.#states = [hash, after];
    } catch (error) {
      // Its cut could not be read: there is no checkpoint then, and the guest's writes wait for the next cut.
      assert.match(String(error), /injected/);
      assert.equal(this.#volume.listCheckpoints().length, this.#checkpoints.size);
      this.#states.push(hash);
    }
  }

  async #restore(): Promise<void> {
    const id = [...this.#checkpoints.keys()][this.#pick(this.#checkpoints.size)];
    if (id === undefined) return;
    await this.#retry(() => this.#volume.restore(id));
    this.#guest = Buffer.from(await this.#readAll());
    assert.equal(this.#hash(), this.#checkpoints.get(id));
    this.#stored();
  }

  async #deleteCheckpoint(): Promise<void> {
    const source = this.#volume.listCheckpoints()[0]?.id;
    const id = [...this.#checkpoints.keys()].find((candidate) => candidate !== source);
    if (id === undefined) return;
    try {
      await this.#volume.deleteCheckpoint(id);
    } catch (error) {
      assert.match(String(error), /in use/);
      return;
    }
    this.#checkpoints.delete(id);
    this.#stored();
  }

  async #crash(): Promise<void> {
    await this.#volume.abandon();
    this.#engine = null;
    await this.#open();
    assert.ok(this.#guest.equals(await this.#readAll()), "a crash loses nothing");
  }

  /** Another machine: only the bucket is left. */
  async #move(): Promise<void> {
    await this.#volume.abandon();
    this.#engine = null;
    rmSync(join(this.#directory, "cache"), { recursive: true, force: true });
    await this.#open();
    this.#guest = Buffer.from(await this.#readAll());
    assert.ok(this.#states.includes(this.#hash()), "the bucket holds a prefix of the writes");
    this.#stored();
  }

  #readAll(): Promise<Uint8Array> {
    return this.#retry(() => this.#volume.live.read(0, unitCount * unitSizeBytes));
  }

  async #verifyEnd(): Promise<void> {
    this.#store.failureRate = 0;
    assert.ok(this.#guest.equals(await this.#readAll()));
    for (const [id, hash] of this.#checkpoints) {
      const file = this.#volume.showCheckpoint(id);
      const content = await file.read(0, file.sizeBytes);
      assert.equal(hashOf(content), hash, `checkpoint ${id} is what it was`);
    }
    await this.#volume.sync();
    await this.#move();
    // The sweep after a crash deletes what no map names.
    const deadline = performance.now() + 5_000;
    for (;;) {
      const stored = await this.#storedKeys();
      const named = this.#namedKeys();
      if (isDeepStrictEqual(stored, named)) break;
      if (performance.now() > deadline) assert.deepEqual(stored, named);
      await delay(5);
    }
  }

  async #storedKeys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.#store.list(`${prefix}/data/`)) keys.push(key);
    return keys.toSorted();
  }

  #namedKeys(): string[] {
    const map = BlockMap.open(join(this.#directory, "cache", "map.db"), { readOnly: true });
    const named = map.segments().filter(({ isGarbage }) => !isGarbage);
    const keys = named.map(({ key }) => `${prefix}/${key}`);
    map.close();
    return keys.toSorted();
  }

  #hash(): string {
    return hashOf(this.#guest);
  }

  #stored(): void {
    this.#states = [this.#hash()];
  }
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const firstSeed = Number(process.env["SIMULATION_SEED"] ?? 1);
const runs = process.env["SIMULATION_SEED"] === undefined ? 8 : 1;
for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
  test(`a volume on a failing store keeps its promises (seed ${seed})`, async () => {
    await Simulation.run(seed);
  });
}
