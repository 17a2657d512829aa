import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { aheadFetchesMax, aheadUnitsMax, fetchUnitsMax } from "./limits.ts";
import { ReadAhead } from "./read-ahead.ts";

const unitCount = 4_096;

/** A disk of which nothing is here; fetches end when the test says so. */
class Disk {
  readonly here = new Set<number>();
  readonly marked = new Set<number>();
  readonly fetches: { units: readonly number[]; end: () => void }[] = [];
  readonly ahead: ReadAhead;

  constructor(windowUnitsMax = aheadUnitsMax) {
    const fetching = new Set<number>();
    this.ahead = new ReadAhead({
      unitCount,
      windowUnitsMax,
      isMissing: (unit) => !this.here.has(unit) && !fetching.has(unit),
      fetch: (units) => {
        for (const unit of units) fetching.add(unit);
        const { promise, resolve } = Promise.withResolvers<void>();
        const end = (): void => {
          for (const unit of units) this.here.add(unit);
          resolve();
        };
        this.fetches.push({ units, end });
        return promise;
      },
      markUnit: (unit) => this.marked.add(unit),
    });
  }

  /** As the live file does: the slow lane sees misses and marked units only. Returns true for a miss. */
  read(unit: number): boolean {
    const isMiss = !this.here.has(unit);
    const isMarked = this.marked.delete(unit);
    if (isMiss) this.here.add(unit);
    if (isMiss || isMarked) this.ahead.onRead(unit, unit + 1);
    return isMiss;
  }

  async settle(): Promise<void> {
    while (this.fetches.length > 0) {
      for (const { end } of this.fetches.splice(0)) end();
      await nextTurn();
    }
  }
}

test("a reader in order misses twice, and is then served ahead for as long as it goes on", async () => {
  const disk = new Disk();
  let misses = 0;
  for (let unit = 100; unit < 2_000; unit++) {
    if (disk.read(unit)) misses++;
    await disk.settle();
  }
  assert.equal(misses, 2);
  const furthest = Math.max(...disk.here);
  assert.ok(furthest > 2_000 + aheadUnitsMax / 3 && furthest <= 2_000 + aheadUnitsMax);
});

test("the window begins small and doubles up to its maximum, in fetches of neighbours, few at a time", async () => {
  const disk = new Disk();
  disk.read(0);
  disk.read(1);
  assert.equal(disk.fetches.flatMap(({ units }) => units).length, 16);
  await disk.settle();
  for (let unit = 2; unit < 1_000; unit++) {
    disk.read(unit);
    assert.ok(disk.fetches.length <= aheadFetchesMax);
    for (const { units } of disk.fetches) {
      assert.ok(units.length <= fetchUnitsMax);
      assert.ok(units.every((each, index) => each === (units[0] as number) + index));
    }
    await disk.settle();
  }
});

test("reads at random fetch nothing ahead", () => {
  const disk = new Disk();
  for (let index = 0; index < 300; index++) disk.read((index * 1_237) % unitCount);
  assert.equal(disk.fetches.length, 0);
});

test("four readers in order are followed at a time", async () => {
  const disk = new Disk();
  let misses = 0;
  for (let step = 0; step < 200; step++) {
    for (const start of [0, 1_000, 2_000, 3_000]) if (disk.read(start + step)) misses++;
    await disk.settle();
  }
  assert.equal(misses, 8);
});

test("a small cache gets a small window, and the end of the disk is the end", async () => {
  const disk = new Disk(4);
  for (let unit = 10; unit < 100; unit++) {
    disk.read(unit);
    await disk.settle();
    assert.ok(Math.max(...disk.here) <= unit + 5);
  }
  for (let unit = unitCount - 5; unit < unitCount; unit++) disk.read(unit);
  await disk.settle();
  assert.ok(Math.max(...disk.here) < unitCount);
});

test("a boot's units are fetched in their order, after what a reader needs, and once", async () => {
  const disk = new Disk();
  disk.here.add(7);
  const done = disk.ahead.prefetch([5, 6, 7, 900, 20, 21, 22, 5, unitCount + 3]);
  assert.deepEqual(
    disk.fetches.map(({ units }) => [...units]),
    [[5, 6], [900], [20, 21, 22]],
  );
  await disk.settle();
  await done;
  const late = disk.ahead.prefetch([2_000]);
  disk.ahead.stop();
  await disk.settle();
  await late;
});
