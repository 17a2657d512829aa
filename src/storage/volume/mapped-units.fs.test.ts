import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { BlockMap } from "../block-map/block-map.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import type { UnitChange } from "../block-map/types.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import { MappedUnits } from "./mapped-units.ts";

const unitCount = 1_003;
const mapped = [0, 1, 7, 8, 255, 256, 700, 1_002];
const mapCheck = "4096:0123abcd";
let directory = "";
let map: BlockMap;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-mapped-"));
  map = BlockMap.create(join(directory, "map.db"), { sizeBytes: unitCount * unitSizeBytes });
  const segment = map.allocateSegment();
  const changes = new Map<number, UnitChange>();
  for (const [index, unit] of mapped.entries()) {
    const slice = { segment, offsetBlocks: 1 + index * 16, stored: 0xffff, check: unit };
    changes.set(unit, { blocks: 0xffff, slice });
  }
  const segments = [{ id: segment, sizeBytes: 1_000_000, blockCount: mapped.length * 16 }];
  map.commitCut({ cut: 1, changes, segments });
});
afterEach(() => {
  map.close();
  rmSync(directory, { recursive: true, force: true });
});

function unitsOf(found: MappedUnits | null): number[] | null {
  if (found === null) return null;
  const units: number[] = [];
  found.forEach((unit) => units.push(unit));
  return units;
}

const path = (): string => join(directory, "mapped.bits");

test("what was walked is read again", () => {
  const walked = MappedUnits.of(map);
  assert.deepEqual(unitsOf(walked), mapped);
  walked.save(directory, mapCheck);
  assert.deepEqual(unitsOf(MappedUnits.read(directory, map, mapCheck)), mapped);
});

test("what is missing, torn, damaged in any byte, or of another map is not believed", () => {
  assert.equal(MappedUnits.read(directory, map, mapCheck), null);
  MappedUnits.of(map).save(directory, mapCheck);
  assert.equal(MappedUnits.read(directory, map, "4096:0123abce"), null);
  const whole = readFileSync(path());
  for (let length = 0; length < whole.length; length += 5) {
    writeFileSync(path(), whole.subarray(0, length));
    assert.equal(MappedUnits.read(directory, map, mapCheck), null, `${length} bytes of it`);
  }
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(path(), changed);
    const found = unitsOf(MappedUnits.read(directory, map, mapCheck));
    if (found !== null) assert.deepEqual(found, mapped, `byte ${at}`);
  }
});

test("a directory that takes no file costs nothing but the walk", () => {
  MappedUnits.of(map).save(join(directory, "missing"), mapCheck);
  assert.equal(MappedUnits.read(join(directory, "missing"), map, mapCheck), null);
});

test("a volume that is opened again reads what it has, and walks a map that changed unseen", async () => {
  const store = new MemoryObjectStore();
  const cacheDirectory = join(directory, "cache");
  const open = (): Promise<VolumeEngine> =>
    VolumeEngine.open({
      ...{ store, prefix: "sprites/mapped", cacheDirectory, cacheSizeBytesMax: 2 ** 30 },
      ...{ sizeBytes: 32 * unitSizeBytes, readOnly: false, syncIntervalMs: 5 },
      onProblem: () => undefined,
    });
  const bits = join(cacheDirectory, "mapped.bits");
  const expected = Buffer.alloc(32 * unitSizeBytes);
  const write = async (engine: VolumeEngine, unit: number): Promise<void> => {
    expected.fill(unit + 1, unit * unitSizeBytes, (unit + 1) * unitSizeBytes);
    await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, unit + 1));
  };
  const check = async (engine: VolumeEngine): Promise<void> => {
    assert.ok(expected.equals(await engine.live.read(0, expected.length)));
    const { state } = engine.local.cache;
    const units = [...Array(32).keys()].filter((unit) => state.isMapped(unit));
    const wanted = [...Array(32).keys()].filter((unit) => expected[unit * unitSizeBytes] !== 0);
    assert.deepEqual(units, wanted);
  };
  const first = await open();
  await write(first, 3);
  await first.close({ discard: false });
  const ofFirst = readFileSync(bits);
  const second = await open();
  await check(second);
  await write(second, 9);
  await second.sync();
  // As a kill: the file is that of the map before.
  await second.abandon();
  assert.deepEqual(readFileSync(bits), ofFirst);
  const third = await open();
  await check(third);
  await third.close({ discard: false });
  writeFileSync(bits, ofFirst);
  const fourth = await open();
  await check(fourth);
  await fourth.close({ discard: false });
});
