import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { isWorthStoring } from "./boot-list.ts";
import { VolumeEngine } from "./engine.ts";

const prefix = "sprites/boot";
const unitCount = 200;

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}

test("a list is stored when it is new, or much has changed, and not after a short stay", () => {
  assert.ok(!isWorthStoring(range(0, 3), null));
  assert.ok(isWorthStoring(range(0, 20), null));
  assert.ok(!isWorthStoring(range(0, 20), range(0, 20)));
  assert.ok(!isWorthStoring(range(2, 22), range(0, 20)));
  assert.ok(isWorthStoring(range(10, 30), range(0, 20)));
  assert.ok(!isWorthStoring(range(100, 120), range(0, 80)));
});

test("the next machine fetches what the last boot read, by itself", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-boot-"));
  const store = new MemoryObjectStore();
  const puts = (): number => store.statistics().requests.put;
  const open = (name: string): Promise<VolumeEngine> =>
    VolumeEngine.open({
      ...{ store, prefix, cacheDirectory: join(directory, name), cacheSizeBytesMax: 2 ** 30 },
      ...{ sizeBytes: unitCount * unitSizeBytes, readOnly: false, syncIntervalMs: 10 },
      onProblem: () => undefined,
    });
  const boot = [7, 150, 151, 8, 90, 91, 92, 30, 31, 32];
  const read = async (engine: VolumeEngine): Promise<void> => {
    for (const unit of boot) await engine.live.read(unit * unitSizeBytes, unitSizeBytes);
  };
  try {
    const first = await open("a");
    await first.live.write(0, Buffer.alloc(unitCount * unitSizeBytes, 3));
    await first.sync();
    await first.close({ discard: false });
    const again = await open("b");
    await read(again);
    await again.close({ discard: false });
    assert.ok(store.contents().has(`${prefix}/boot.json`));

    const third = await open("c");
    const deadline = performance.now() + 5_000;
    while (boot.some((unit) => third.local.cache.missingBlocks(unit) !== 0)) {
      assert.ok(performance.now() < deadline, "the boot's units are fetched");
      await delay(2);
    }
    const others = range(0, unitCount).filter((unit) => !boot.includes(unit));
    assert.ok(others.every((unit) => third.local.cache.missingBlocks(unit) !== 0));
    await read(third);
    const list = store.contents().get(`${prefix}/boot.json`);
    await third.close({ discard: false });
    const warm = await open("c");
    await read(warm);
    const before = puts();
    await warm.close({ discard: false });
    assert.ok(puts() - before <= 1, "letting go, and nothing else");
    assert.equal(store.contents().get(`${prefix}/boot.json`), list);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
