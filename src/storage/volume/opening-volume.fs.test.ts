import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { VolumeEngine, type EngineOptions } from "./engine.ts";
import { OpeningVolume } from "./opening-volume.ts";

/** Nothing else than hydration asks for as much of a map. */
const hydrationSizeBytesMin = 200_000;
const content = randomBytes(3 * unitSizeBytes);
let directory = "";
let store: ObjectStore;
let gate = Promise.withResolvers<void>();
let failures = 0;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-opening-"));
  store = await DirectoryObjectStore.open(join(directory, "bucket"));
  gate = Promise.withResolvers<void>();
  failures = 0;
});
afterEach(() => {
  gate.resolve();
  rmSync(directory, { recursive: true, force: true });
});

/** The store, through which a map comes only when the gate is opened, and fails as often as asked. */
function gated(): ObjectStore {
  const getRange: ObjectStore["getRange"] = async (key, offset, length, options) => {
    if (key.includes("/meta/") && length >= hydrationSizeBytesMin) {
      const aborted = Promise.withResolvers<never>();
      options?.signal?.addEventListener("abort", () => aborted.reject(options.signal?.reason));
      await Promise.race([gate.promise, aborted.promise]);
      if (failures-- > 0) throw new Error("injected");
    }
    return await store.getRange(key, offset, length, options);
  };
  return new Proxy(store, {
    get: (target, name) =>
      name === "getRange" ? getRange : (Reflect.get(target, name) as () => void).bind(target),
  });
}

function optionsOf(change: Partial<EngineOptions> = {}): EngineOptions {
  return {
    store,
    prefix: "sprites/test",
    cacheDirectory: join(directory, "cache"),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 64 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 5,
    onProblem: () => undefined,
    retryMsMin: 5,
    ...change,
  };
}

async function makeVolume(): Promise<void> {
  const engine = await VolumeEngine.open(optionsOf());
  await engine.markFormatted();
  await engine.live.write(0, content);
  // So large a value makes a map that is not fetched as a whole when it is opened.
  engine.setAttribute("large", randomBytes(400_000).toString("hex"));
  await engine.close({ discard: false });
  rmSync(join(directory, "cache"), { recursive: true });
}

async function readElsewhere(): Promise<Uint8Array> {
  const engine = await VolumeEngine.open(optionsOf({ cacheDirectory: join(directory, "other") }));
  const bytes = await engine.live.read(0, 4 * unitSizeBytes);
  await engine.close({ discard: false });
  return bytes;
}

const written = Buffer.alloc(unitSizeBytes, 7);
const expected = Buffer.concat([
  content.subarray(0, unitSizeBytes),
  written,
  content.subarray(2 * unitSizeBytes),
  Buffer.alloc(unitSizeBytes),
]);

test("a disk is read and written before its map is here, and everything else follows", async () => {
  await makeVolume();
  const volume = await OpeningVolume.open(optionsOf({ store: gated() }));
  assert.equal(volume.formatted, true);
  assert.ok(content.equals(await volume.live.read(0, content.length)));
  await volume.live.write(unitSizeBytes, written);
  await volume.live.flush();
  assert.ok(expected.equals(await volume.live.read(0, expected.length)));
  gate.resolve();
  const engine = await volume.engine;
  assert.ok(expected.equals(await volume.live.read(0, expected.length)));
  await engine.sync();
  assert.equal(engine.getAttribute("large")?.length, 800_000);
  await volume.close({ discard: false });
  assert.ok(expected.equals(await readElsewhere()));
});

test("what a boot reads first is fetched by the next cold open before anybody asks", async () => {
  await makeVolume();
  const first = await VolumeEngine.open(optionsOf());
  for (let unit = 40; unit > 10; unit--) {
    await first.live.write(unit * unitSizeBytes, randomBytes(unitSizeBytes));
  }
  await first.close({ discard: false });
  const booted = await VolumeEngine.open(optionsOf());
  for (let unit = 40; unit > 10; unit--) await booted.live.read(unit * unitSizeBytes, 1);
  await booted.close({ discard: false });
  rmSync(join(directory, "cache"), { recursive: true });
  const cold = await OpeningVolume.open(optionsOf({ inPlaceSizeBytesMin: 0 }));
  const deadline = performance.now() + 10_000;
  const { cache } = cold.local;
  const isHere = (unit: number): boolean => cache.missingBlocks(unit) === 0;
  while (![...Array(30).keys()].every((index) => isHere(11 + index))) {
    assert.ok(performance.now() < deadline, "the boot's units are fetched");
    await delay(5);
  }
  assert.ok(!isHere(0), "and nothing else");
  await cold.close({ discard: false });
});

test("what a guest synced before the map was here outlives a kill", async () => {
  await makeVolume();
  const volume = await OpeningVolume.open(optionsOf({ store: gated(), closeTimeoutMs: 10 }));
  await volume.live.write(unitSizeBytes, written);
  await volume.live.flush();
  // Ends with the map still missing.
  await assert.rejects(volume.close({ discard: false }), { code: "storage_failure" });
  const again = await OpeningVolume.open(optionsOf());
  assert.ok(expected.equals(await again.live.read(0, expected.length)));
  await (await again.engine).sync();
  await again.close({ discard: false });
  assert.ok(expected.equals(await readElsewhere()));
});

test("a map that does not come at once is asked for again, and the disk is served meanwhile", async () => {
  await makeVolume();
  failures = 3;
  gate.resolve();
  const problems: (Error | null)[] = [];
  const onProblem = (problem: Error | null): number => problems.push(problem);
  const volume = await OpeningVolume.open(optionsOf({ store: gated(), onProblem }));
  assert.ok(content.equals(await volume.live.read(0, content.length)));
  await (await volume.engine).sync();
  assert.match(String(problems[0]), /injected/);
  assert.equal(problems[1], null);
  await volume.close({ discard: false });
});

test("in durable mode a flush before the map is here waits until the bucket has it", async () => {
  await makeVolume();
  const options = optionsOf({ store: gated(), durability: "durable" });
  const volume = await OpeningVolume.open(options);
  await volume.live.write(unitSizeBytes, written);
  const flush = volume.live.flush();
  const first = await Promise.race([flush.then(() => "flushed"), volume.live.read(0, 1)]);
  assert.notEqual(first, "flushed");
  gate.resolve();
  await flush;
  // The machine burns at once.
  await (await volume.engine).abandon();
  rmSync(join(directory, "cache"), { recursive: true });
  assert.ok(expected.equals(await readElsewhere()));
});
