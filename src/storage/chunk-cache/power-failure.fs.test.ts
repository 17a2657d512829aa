/**
 * A power failure at any sync, or between two: of what was written since the last sync that came to its
 * end, any part may be on the disk. What a flush promised is read back, and every other block is what it
 * was or what was written since.
 */
import assert from "node:assert/strict";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import { seededRandom } from "../volume/testing/faulty-store.ts";
import { CacheSync } from "./cache-sync.ts";
import { logReserveRecords } from "./limits.ts";
import { areaStartUnits } from "./log-area.ts";
import { logOffset } from "./residency-log.ts";
import { CacheModel } from "./testing/cache-model.ts";

const unitCount = 5;
const blockCount = unitCount * blocksPerUnit;
const sectorSizeBytes = 512;
const stepsPerRun = 250;

/** Parts of the cache file that hold anything: the disk, and the beginning of each log area. */
const regions = [
  { at: 0, size: unitCount * unitSizeBytes, atom: blockSizeBytes },
  ...([0, 1] as const).map((area) => ({
    at: areaStartUnits(unitCount, area) * unitSizeBytes,
    size: logOffset(logReserveRecords) + 64 * 1024,
    atom: sectorSizeBytes,
  })),
];

class PowerFailure extends Error {}

class Machine {
  readonly model: CacheModel;
  readonly #random: () => number;
  /** What the disk has for certain. */
  #durable: Buffer[] | null = null;
  #failsAtSync = false;
  /** Values that each block may have after a failure. */
  #allowed: Set<number>[] = Array.from({ length: blockCount }, () => new Set([0]));
  failures = 0;

  constructor(random: () => number) {
    this.#random = random;
    this.model = new CacheModel(unitCount, () => this.#sync());
    this.#durable = this.#image();
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #sync(): void {
    // The model's first cache opens before there is anything to lose.
    if (this.#durable === null) return;
    if (this.#failsAtSync) throw new PowerFailure();
    this.#durable = this.#image();
  }

  #image(): Buffer[] {
    const file = openSync(join(this.model.directory, "blocks"), "r");
    const parts = regions.map(({ at, size }) => {
      const bytes = Buffer.alloc(size);
      readSync(file, bytes, 0, size, at);
      return bytes;
    });
    closeSync(file);
    return parts;
  }

  /** The disk's content from now on: what was durable, and any part of the rest. */
  #losePower(): void {
    this.failures++;
    this.#failsAtSync = false;
    const written = this.#image();
    const share = this.#random();
    const file = openSync(join(this.model.directory, "blocks"), "r+");
    for (const [index, { at, size, atom }] of regions.entries()) {
      const mixed = Buffer.from(this.#durable?.[index] ?? Buffer.alloc(size));
      for (let from = 0; from < size; from += atom) {
        if (this.#random() < share) written[index]?.copy(mixed, from, from, from + atom);
      }
      writeSync(file, mixed, 0, size, at);
    }
    closeSync(file);
    this.#durable = this.#image();
  }

  /** Loses power, starts again (and loses it again, in some starts), and looks at every block. */
  fail(): void {
    const { model } = this;
    model.local.abandon();
    for (;;) {
      this.#losePower();
      model.bootId = `after failure ${this.failures}`;
      this.#failsAtSync = this.#below(4) === 0;
      try {
        assert.equal(model.reopen(), null);
        break;
      } catch (error) {
        if (!(error instanceof PowerFailure)) throw error;
      }
    }
    const found = model.read(0, blockCount);
    for (const [block, allowed] of this.#allowed.entries()) {
      const bytes = found.subarray(block * blockSizeBytes, (block + 1) * blockSizeBytes);
      const value = bytes.readUInt8(0);
      const isWhole = bytes.equals(Buffer.alloc(blockSizeBytes, value));
      const hint = `block ${block} is ${value}, not one of ${[...allowed].join(" ")}`;
      assert.ok(isWhole && allowed.has(value), hint);
    }
    model.guest = found;
    this.#noteFlushed();
  }

  #noteFlushed(): void {
    this.#allowed = this.#allowed.map(
      (_, block) => new Set([this.model.guest.readUInt8(block * blockSizeBytes)]),
    );
  }

  #change(value: number): void {
    const first = this.#below(blockCount);
    const count = 1 + this.#below(Math.min(24, blockCount - first));
    if (value === 0) this.model.punch(first, count);
    else this.model.write(first, count, value);
    for (let block = first; block < first + count; block++) this.#allowed[block]?.add(value);
  }

  #flush(): void {
    assert.ok(new CacheSync(this.model.local.cache, () => this.#sync()).trySync());
    this.#noteFlushed();
  }

  async #step(): Promise<void> {
    const { model } = this;
    const dice = this.#below(20);
    if (dice < 6) this.#change(1 + this.#below(250));
    else if (dice < 7) this.#change(0);
    else if (dice < 9) model.verifyRead(this.#below(blockCount - 8), 8);
    else if (dice < 12) this.#flush();
    else if (dice < 14) model.begin();
    else if (dice < 15) model.captureNext();
    else if (dice < 16) model.evict();
    else if (dice < 17) model.local.scrub.run();
    else if (dice < 18) this.#finish();
    else if (dice < 19 && model.running === null) await this.#compact();
  }

  async #compact(): Promise<void> {
    // Its own flush, whose syncs are not heard of here, has nothing left to do.
    this.#flush();
    await this.model.local.compact();
  }

  #finish(): void {
    while (this.model.captureNext());
    this.#flush();
    this.model.commit();
  }

  async run(): Promise<void> {
    for (let step = 0; step < stepsPerRun; step++) {
      if (this.#below(12) === 0) this.#failsAtSync = true;
      try {
        await this.#step();
      } catch (error) {
        if (!(error instanceof PowerFailure)) throw error;
        this.fail();
      }
      if (this.#below(25) === 0) this.fail();
    }
  }
}

test("what a flush promised outlives a power failure that takes any part of the rest", async (t) => {
  const seedFirst = 20_261_124;
  const deadline = performance.now() + 8_000;
  let failures = 0;
  for (let seed = seedFirst; seed < seedFirst + 60 && performance.now() < deadline; seed++) {
    const machine = new Machine(seededRandom(seed));
    try {
      await machine.run();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    } finally {
      machine.model.close();
    }
    failures += machine.failures;
  }
  t.diagnostic(`${failures} power failures`);
  assert.ok(failures > 10);
});
