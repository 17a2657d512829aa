/** A cold open that is told where the first blocks are: at once, or not at all, but never wrongly. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { dropUnit } from "../chunk-cache/unit-checks.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { decodeBootFile } from "./boot-file.ts";
import type { EngineOptions } from "./engine.ts";
import { forkVolume } from "./fork.ts";
import { OpeningVolume } from "./opening-volume.ts";

const unitCount = 400;
const boot = [9, 3, 4, 300, 301, 302, 8, 7, 6, 5];
const prefix = "sprites/early";
const key = `${prefix}/boot.json`;
let directory = "";
let store: MemoryObjectStore;
let disk = Buffer.alloc(0);
let machines = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-early-"));
  store = new MemoryObjectStore();
  disk = Buffer.alloc(unitCount * unitSizeBytes);
  machines = 0;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** On a machine that has nothing of it. */
function open(change: Partial<EngineOptions> = {}): Promise<OpeningVolume> {
  const cacheDirectory = join(directory, String(machines++));
  return OpeningVolume.open({
    ...{ store, prefix, cacheDirectory, cacheSizeBytesMax: 2 ** 30, readOnly: false },
    ...{ sizeBytes: unitCount * unitSizeBytes, syncIntervalMs: 5, inPlaceSizeBytesMin: 0 },
    onProblem: () => undefined,
    ...change,
  });
}

async function write(volume: OpeningVolume, unit: number): Promise<void> {
  const content = randomBytes(unitSizeBytes);
  content.copy(disk, unit * unitSizeBytes);
  await volume.live.write(unit * unitSizeBytes, content);
}

async function close(volume: OpeningVolume): Promise<void> {
  await volume.engine;
  await volume.close({ discard: false });
}

async function isRight(volume: OpeningVolume, units = boot): Promise<boolean> {
  for (const unit of units) {
    const expected = disk.subarray(unit * unitSizeBytes, (unit + 1) * unitSizeBytes);
    if (!expected.equals(await volume.live.read(unit * unitSizeBytes, unitSizeBytes))) return false;
  }
  return true;
}

/** Makes a volume, boots it, and lets it go. */
async function makeBooted(): Promise<void> {
  const first = await open();
  for (const unit of [...boot.filter((each) => each !== 8), 100]) await write(first, unit);
  await close(first);
  const booted = await open();
  assert.ok(await isRight(booted));
  // With changes: the places are those of the state that the volume is let go in.
  await write(booted, 3);
  await booted.live.write(4 * unitSizeBytes + 4_096, Buffer.alloc(4_096, 1));
  disk.fill(1, 4 * unitSizeBytes + 4_096, 4 * unitSizeBytes + 8_192);
  await close(booted);
}

function replaceList(bytes: Uint8Array | null): Promise<unknown> {
  return bytes === null ? store.deleteMany([key]) : store.put(key, bytes);
}

const list = async (): Promise<Uint8Array> => (await store.get(key)) ?? new Uint8Array(0);

/** The store, saying what is asked of it. */
function watched(calls: string[], gate: (call: string) => Promise<void>): ObjectStore {
  return new Proxy<ObjectStore>(store, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return async (...args: unknown[]) => {
        const call = `${String(name)} ${String(args[0]).slice(prefix.length + 1)}`;
        calls.push(call);
        await gate(call);
        return await method.apply(target, args);
      };
    },
  });
}

test("the first blocks are asked for before the volume is taken, and once", async () => {
  await makeBooted();
  const calls: string[] = [];
  let atSwap: string[] = [];
  const volume = await open({
    store: watched(calls, async (call) => {
      if (call !== "swap head.json") return;
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      atSwap = [...calls];
    }),
  });
  assert.ok(atSwap.some((call) => call.startsWith("getRange data/")));
  assert.ok(await isRight(volume));
  assert.ok(await isRight(volume, [100, 200]));
  const gets = calls.filter((call) => call.startsWith("getRange data/"));
  const early = atSwap.filter((call) => call.startsWith("getRange data/"));
  assert.equal(gets.length, early.length + 1, "unit 100 is the only one that was not in the list");
  await close(volume);
});

test("a map that is small enough to be fetched first takes over what is on its way", async () => {
  await makeBooted();
  const calls: string[] = [];
  const inPlaceSizeBytesMin = Number.MAX_SAFE_INTEGER;
  const volume = await open({ store: watched(calls, async () => undefined), inPlaceSizeBytesMin });
  assert.ok(await isRight(volume));
  await close(volume);
  const stored = boot.length - 1;
  const gets = calls.filter((call) => call.startsWith("getRange data/"));
  assert.ok(gets.length <= stored, `${gets.length} requests, each unit once at most`);
});

test("a fork's list names the segments of its source by their own keys", async () => {
  await makeBooted();
  const [source, to] = [prefix, "sprites/fork"];
  const forking = { store, from: source, to, checkpoint: null, forkId: "f1" };
  await forkVolume({ ...forking, scratchDirectory: join(directory, "scratch") });
  const booted = await open({ prefix: to });
  assert.ok(await isRight(booted));
  await write(booted, 301);
  await close(booted);
  const bytes = await store.get(`${to}/boot.json`);
  const keys = [...(decodeBootFile(bytes)?.keys.values() ?? [])];
  assert.ok(keys.some((each) => each.startsWith(`${source}/`)));
  assert.ok(keys.some((each) => each.startsWith(`${to}/`)));
  const volume = await open({ prefix: to });
  assert.ok(await isRight(volume));
  await close(volume);
});

test("a volume that is opened and closed elsewhere without a change stores no list", async () => {
  await makeBooted();
  const before = await list();
  const volume = await open();
  assert.ok(await isRight(volume));
  await close(volume);
  assert.deepEqual(await list(), before);
});

test("a list that is stale, torn, another's, or missing makes no byte wrong", async () => {
  await makeBooted();
  const stale = await list();
  const again = await open();
  for (const unit of boot) await write(again, unit);
  await close(again);
  const fresh = await list();
  assert.notDeepEqual(fresh, stale);
  const flipped = Uint8Array.from(fresh);
  const middle = flipped.length >>> 1;
  flipped[middle] = (flipped[middle] ?? 0) ^ 1;
  for (const bytes of [stale, fresh.subarray(0, middle), flipped, Buffer.from("{}"), null]) {
    await replaceList(bytes);
    const volume = await open();
    assert.ok(await isRight(volume));
    assert.ok(await isRight(volume, [100, 200]));
    await close(volume);
  }
});

test("a list of a holder that did not let go is not believed", async () => {
  await makeBooted();
  const volume = await open();
  await (await volume.engine).sync();
  for (const unit of boot) await write(volume, unit);
  await (await volume.engine).sync();
  await (await volume.engine).abandon();
  const next = await open();
  assert.ok(await isRight(next));
  await close(next);
});

test("what cannot be fetched early is fetched when it is asked for", async () => {
  await makeBooted();
  let failures = 1;
  const volume = await open({
    store: watched([], async (call) => {
      if (call.startsWith("getRange data/") && failures-- > 0) throw new Error("injected");
    }),
  });
  assert.ok(await isRight(volume));
  await close(volume);
});

test("what comes late does not undo what the guest wrote meanwhile", async () => {
  await makeBooted();
  const arrival = Promise.withResolvers<void>();
  let isFirst = true;
  const volume = await open({
    store: watched([], async (call) => {
      if (!call.startsWith("getRange data/") || !isFirst) return;
      isFirst = false;
      await arrival.promise;
    }),
  });
  for (const unit of boot) await write(volume, unit);
  await (await volume.engine).sync();
  const { cache } = volume.local;
  // As eviction does: then what arrives finds room.
  cache.locked(() => boot.forEach((unit) => dropUnit(cache.state, unit)));
  arrival.resolve();
  assert.ok(await isRight(volume));
  await close(volume);
  const next = await open();
  assert.ok(await isRight(next));
  await close(next);
});
