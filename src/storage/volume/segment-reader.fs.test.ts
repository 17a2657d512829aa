import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { SegmentWriter } from "../block-map/segment.ts";
import type { Slice } from "../block-map/types.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { SegmentReader } from "./segment-reader.ts";
import { Staging } from "./staging.ts";

interface Rig {
  store: MemoryObjectStore;
  reader: SegmentReader;
  /** Stores slices of units full of a value, in one segment. */
  storeSlices: (segment: number, ...slices: [value: number, stored: number][]) => Promise<Slice[]>;
  requests: () => number;
}

function makeRig(context: TestContext): Rig {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-reader-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const store = new MemoryObjectStore();
  const keyOf = (segment: number): string => `data/${segment}`;
  const reader = new SegmentReader({ store, keyOf, staging: new Staging(directory) });
  return {
    store,
    reader,
    requests: () => store.statistics().requests.get,
    storeSlices: async (segment, ...slices) => {
      const writer = new SegmentWriter();
      const places = slices.map(([value, stored]) =>
        writer.append(Buffer.alloc(unitSizeBytes, value), stored),
      );
      await store.put(keyOf(segment), writer.finish());
      return places.map((place) => ({ segment, ...place, live: place.stored }));
    },
  };
}

const blocksOf = (unit: Uint8Array | undefined): (number | undefined)[] =>
  Array.from({ length: 16 }, (_, block) => unit?.[block * blockSizeBytes]);

test("a unit is put together from the live blocks of its slices, and zeros", async (context) => {
  const { reader, storeSlices } = makeRig(context);
  const [base] = await storeSlices(1, [1, 0x0fff]);
  const [patch] = await storeSlices(2, [2, 0x8006]);
  assert.ok(base && patch);
  const layout = [
    { ...base, live: 0x0ff1 },
    { ...patch, live: 0x8002 },
  ];
  const units = await reader.readUnits([layout]);
  const middle = Array.from({ length: 8 }, () => 1);
  assert.deepEqual(blocksOf(units.get(layout)), [1, 2, 0, 0, ...middle, 0, 0, 0, 2]);
});

test("neighbours and near neighbours in a segment are one request, far ones are not", async (context) => {
  const { reader, storeSlices, requests } = makeRig(context);
  const slices = await storeSlices(1, [1, 0xffff], [2, 0xffff], [3, 0xffff], [4, 0xffff], [5, 1]);
  const read = async (...indexes: number[]): Promise<number> => {
    const before = requests();
    const layouts = indexes.flatMap((index) => {
      const slice = slices[index];
      return slice === undefined ? [] : [[slice]];
    });
    const units = await reader.readUnits(layouts);
    const values = layouts.map((layout) => units.get(layout)?.[0]);
    assert.deepEqual(
      values,
      indexes.map((index) => index + 1),
    );
    return requests() - before;
  };
  assert.equal(await read(0, 1, 2, 3), 1);
  assert.equal(await read(2, 0), 1, "16 blocks lie between");
  assert.equal(await read(0, 4), 2, "48 blocks lie between");
});

test("slices are verified one by one, also those of a common request", async (context) => {
  const { store, reader, storeSlices } = makeRig(context);
  const [first, second] = await storeSlices(1, [1, 0x000f], [2, 0x000f]);
  assert.ok(first && second);
  const object = Buffer.from((await store.get("data/1")) ?? []);
  // In a block that is not live: what is stored is verified as a whole.
  object[7 * blockSizeBytes] = 9;
  await store.put("data/1", object);
  await reader.readUnits([[first]]);
  const isDamaged = { code: "storage_failure", message: /damaged at block 5/ };
  await assert.rejects(reader.readUnits([[first], [{ ...second, live: 1 }]]), isDamaged);
  await store.put("data/1", object.subarray(0, 6 * blockSizeBytes));
  await assert.rejects(reader.readUnits([[second]]), { message: /too short/ });
  await store.deleteMany(["data/1"]);
  await assert.rejects(reader.readUnits([[first]]), { message: /missing/ });
});
