/**
 * Random lives of disks, with crashes, forks, ends, times that pass, and collections at any moment: no disk loses a
 * byte, and in the end nothing is left that nobody needs. `GC_STORIES_SEED` tells one story again,
 * `GC_STORIES_MS` tells more of them.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { destroyVolume } from "../volume/destroy.ts";
import type { VolumeEngine } from "../volume/engine.ts";
import { AuditRig, dayMs, graceMs } from "./testing/audit-rig.ts";
import { refusingWrites } from "./testing/troubled-store.ts";

const unitCount = 6;
const stepCount = 60;
const storiesMs = Number(process.env["GC_STORIES_MS"] ?? 8_000);

interface Disk {
  name: string;
  /** What the guest has written, a value a unit. */
  content: number[];
  /** What the bucket has at least. */
  synced: number[];
  checkpoints: Map<string, number[]>;
  engine: VolumeEngine | null;
}

class Story {
  readonly rig = new AuditRig();
  readonly #random: () => number;
  readonly #disks = new Map<string, Disk>();
  readonly told: string[] = [];
  #names = 0;
  #isChainRefused = false;
  readonly #store = refusingWrites(
    this.rig.store,
    (key) => this.#isChainRefused && key.includes("/meta/"),
  );

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  async run(): Promise<void> {
    for (let step = 0; step < stepCount; step++) await this.#step();
    await this.#end();
  }

  async #step(): Promise<void> {
    const disk = this.#pick([...this.#disks.values()]);
    if (disk === undefined || this.#chance(0.06)) return await this.#make();
    const steps: [number, string, () => unknown][] = [
      [30, "write", () => this.#write(disk)],
      [10, "sync", () => this.#sync(disk)],
      [8, "checkpoint", () => this.#checkpoint(disk)],
      [5, "restore", () => this.#restore(disk)],
      [5, "delete a checkpoint of", () => this.#deleteCheckpoint(disk)],
      [6, "close", () => this.#close(disk)],
      [6, "crash", () => this.#crash(disk)],
      [4, "trouble the chains beside", () => (this.#isChainRefused = true)],
      [6, "end the trouble beside", () => (this.#isChainRefused = false)],
      [8, "let minutes pass beside", () => (this.rig.skewMs += this.#random() * 2 * graceMs)],
      [2, "let days pass beside", () => (this.rig.skewMs += this.#random() * 3 * dayMs)],
      [4, "fork", () => this.#fork(disk)],
      [3, "destroy", () => this.#destroy(disk)],
      [14, "collect beside", () => this.#collect()],
    ];
    let left = this.#random() * steps.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, name, take] of steps) {
      left -= weight;
      if (left > 0) continue;
      this.told.push(`${name} ${disk.name}`);
      await take();
      return;
    }
  }

  async #make(): Promise<void> {
    const name = `disk-${++this.#names}`;
    this.told.push(`make ${name}`);
    const zeros = Array.from({ length: unitCount }, () => 0);
    const disk = { name, content: zeros, synced: [...zeros], checkpoints: new Map(), engine: null };
    this.#disks.set(name, disk);
    await this.#write(disk);
  }

  async #opened(disk: Disk): Promise<VolumeEngine> {
    // An opening takes the volume over, which a chain that refuses does not let it.
    if (disk.engine === null) this.#isChainRefused = false;
    disk.engine ??= await this.rig.open(disk.name, {
      ...{ store: this.#store, closeTimeoutMs: 2_000, retentionMs: graceMs },
    });
    return disk.engine;
  }

  async #write(disk: Disk): Promise<void> {
    const engine = await this.#opened(disk);
    const unit = Math.floor(this.#random() * unitCount);
    const value = 1 + Math.floor(this.#random() * 250);
    if (this.#chance(0.2)) {
      await engine.live.punch(unit * unitSizeBytes, unitSizeBytes);
      disk.content[unit] = 0;
    } else {
      await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, value));
      disk.content[unit] = value;
    }
    await engine.live.flush();
  }

  async #sync(disk: Disk): Promise<void> {
    this.#isChainRefused = false;
    await (await this.#opened(disk)).sync();
    disk.synced = [...disk.content];
  }

  async #checkpoint(disk: Disk): Promise<void> {
    this.#isChainRefused = false;
    const engine = await this.#opened(disk);
    const begun = await engine.beginCheckpoint({ comment: "", isAuto: false });
    disk.checkpoints.set((await begun.completed).id, [...disk.content]);
    disk.synced = [...disk.content];
  }

  async #restore(disk: Disk): Promise<void> {
    const id = this.#pick([...disk.checkpoints.keys()]);
    if (id === undefined) return;
    this.#isChainRefused = false;
    const engine = await this.#opened(disk);
    await engine.sync();
    await engine.restore(id);
    disk.content = [...(disk.checkpoints.get(id) ?? [])];
    await engine.sync();
    disk.synced = [...disk.content];
  }

  async #deleteCheckpoint(disk: Disk): Promise<void> {
    // A deletion waits until the bucket has it.
    this.#isChainRefused = false;
    const engine = await this.#opened(disk);
    const id = this.#pick(
      engine
        .listCheckpoints()
        .map((checkpoint) => checkpoint.id)
        .filter((each) => disk.checkpoints.has(each)),
    );
    if (id === undefined) return;
    try {
      await engine.deleteCheckpoint(id);
      disk.checkpoints.delete(id);
    } catch (error) {
      // The live file descends from it.
      if ((error as { code?: unknown }).code !== "conflict") throw error;
    }
  }

  async #close(disk: Disk): Promise<void> {
    this.#isChainRefused = false;
    await disk.engine?.close({ discard: false });
    if (disk.engine !== null) disk.synced = [...disk.content];
    disk.engine = null;
  }

  /** What is local stays: a process has died, and its machine may be switched off. */
  async #crash(disk: Disk): Promise<void> {
    await disk.engine?.close({ discard: true });
    disk.engine = null;
  }

  async #fork(disk: Disk): Promise<void> {
    await this.#sync(disk);
    const name = `disk-${++this.#names}`;
    await this.rig.fork(disk.name, name);
    const content = [...disk.synced];
    this.#disks.set(name, {
      ...{ name, content, synced: [...content], checkpoints: new Map(), engine: null },
    });
  }

  async #destroy(disk: Disk): Promise<void> {
    await this.#crash(disk);
    await destroyVolume({ store: this.rig.store, prefix: `sprites/${disk.name}` });
    this.#disks.delete(disk.name);
  }

  async #collect(): Promise<void> {
    const { volumes } = await this.rig.audit({ isDryRun: false });
    for (const { problems } of volumes.values()) assert.deepEqual(problems, []);
  }

  async #end(): Promise<void> {
    this.#isChainRefused = false;
    for (const disk of this.#disks.values()) {
      await this.#sync(disk);
      await this.#close(disk);
    }
    // A marker gets shorter, then its owner's garbage goes, then what is left of an owner that is gone.
    for (let run = 0; run < 3; run++) {
      this.rig.skewMs += 2 * dayMs;
      await this.#collect();
    }
    const { summary, volumes } = await this.rig.audit();
    const { pending, leaked, unknown } = summary.counts;
    const left = [...volumes.values()].map(({ prefix, counts }) => [prefix, counts]);
    assert.deepEqual([pending.count, leaked.count, unknown.count], [0, 0, 0], JSON.stringify(left));
    assert.equal(summary.problems, 0);
    for (const { name, content, checkpoints } of this.#disks.values()) {
      assert.deepEqual(await this.rig.readCold(name, unitCount), content, name);
      await this.#verifyCheckpoints(name, checkpoints);
    }
  }

  async #verifyCheckpoints(name: string, checkpoints: Map<string, number[]>): Promise<void> {
    const engine = await this.rig.open(name);
    for (const [id, content] of checkpoints) {
      const file = engine.showCheckpoint(id);
      const bytes = await file.read(0, unitCount * unitSizeBytes);
      const found = content.map((_, unit) => bytes[unit * unitSizeBytes]);
      assert.deepEqual(found, content, `${name} ${id}`);
    }
    await engine.close({ discard: false });
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }
}

test("whatever becomes of disks and machines, collections take only what nobody needs, and all of that", async () => {
  const given = process.env["GC_STORIES_SEED"];
  const beganAtMs = performance.now();
  let stories = 0;
  for (let seed = Number(given ?? Date.now() % 1_000_000); ; seed++) {
    const story = new Story(seed);
    try {
      await story.run();
    } catch (error) {
      throw new Error(`GC_STORIES_SEED=${seed}\n${story.told.join("\n")}`, { cause: error });
    } finally {
      await story.rig.dispose();
    }
    stories++;
    if (given !== undefined || performance.now() - beganAtMs > storiesMs) break;
  }
  process.stdout.write(`# ${stories} stories of ${stepCount} steps\n`);
});

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
