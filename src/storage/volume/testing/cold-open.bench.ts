/**
 * How long it takes to open a full 50 GB disk on a store that is 20 ms away: to the first block and until the map is
 * here, with a boot list and without one, and again on the same machine. The measuring process does nothing else.
 * `node src/storage/volume/testing/cold-open.bench.ts`
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { BlockMap } from "../../block-map/block-map.ts";
import { unitSizeBytes } from "../../block-map/geometry.ts";
import type { UnitChange } from "../../block-map/types.ts";
import { DirectoryObjectStore } from "../../object-store/directory-object-store.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { VolumeEngine, type EngineOptions } from "../engine.ts";
import { shipFirst } from "../fork.ts";
import { OpeningVolume } from "../opening-volume.ts";

const latencyMs = 20;
const unitCount = 800_000;
/** Units that have content: the first half of them goes into the boot list. */
const realUnits = 16;
const rounds = 10;
const prefix = "sprites/large";
const slowCalls = ["get", "getRange", "getWithEtag", "swap", "putIfAbsent", "put"];
const [, , given] = process.argv;
const directory = given ?? mkdtempSync(join(tmpdir(), "opensprites-cold-"));
const store = await DirectoryObjectStore.open(join(directory, "bucket"));

if (given === undefined) {
  try {
    await makeVolume();
    const self = fileURLToPath(import.meta.url);
    spawnSync(process.execPath, [self, directory], { stdio: "inherit" });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
} else {
  await measure();
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function delayed(calls: string[]): ObjectStore {
  const beganMs = performance.now();
  return new Proxy(store, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      if (!slowCalls.includes(String(name))) return method.bind(target);
      return async (...args: unknown[]) => {
        const atMs = Math.round(performance.now() - beganMs);
        calls.push(`${atMs} ${String(name)} ${String(args[0]).slice(prefix.length)}`);
        await delay(latencyMs);
        return await method.apply(target, args);
      };
    },
  });
}

function optionsOf(change: Partial<EngineOptions>): EngineOptions {
  return {
    ...{ store, prefix, cacheDirectory: join(directory, "cache"), cacheSizeBytesMax: 2 ** 30 },
    ...{ sizeBytes: unitCount * unitSizeBytes, readOnly: false, syncIntervalMs: 1_000 },
    onProblem: (problem) => say(String(problem)),
    ...change,
  };
}

function offsetOf(realUnit: number): number {
  return realUnit * (unitCount / realUnits) * unitSizeBytes;
}

async function makeVolume(): Promise<void> {
  const engine = await VolumeEngine.open(optionsOf({}));
  for (let unit = 0; unit < realUnits; unit++) {
    await engine.live.write(offsetOf(unit), randomBytes(unitSizeBytes));
  }
  await engine.close({ discard: false });
  const path = join(directory, "cache", "map.db");
  const map = BlockMap.open(path);
  const [segment] = map.segments();
  const changes = new Map<number, UnitChange>();
  for (let unit = 0; unit < unitCount; unit++) {
    if (unit % (unitCount / realUnits) === 0) continue;
    const check = randomBytes(4).readUInt32LE();
    const place = { segment: segment?.id ?? 0, offsetBlocks: 1 + (unit % 1_000), stored: 0xffff };
    changes.set(unit, { blocks: 0xffff, slice: { ...place, check } });
  }
  map.commitCut({ cut: map.lastCut + 1, changes, segments: [] });
  map.close();
  await store.deletePrefix(`${prefix}/meta/`);
  await store.deleteMany([`${prefix}/head.json`]);
  await shipFirst({ store, to: prefix }, path);
  rmSync(join(directory, "cache"), { recursive: true, force: true });
}

async function measure(): Promise<void> {
  for await (const { key, sizeBytes } of store.list(`${prefix}/meta/`)) say(`${key} ${sizeBytes}`);
  await measureCold("cold, without a boot list", realUnits - 1);
  const engine = await VolumeEngine.open(optionsOf({}));
  for (let unit = 0; unit < realUnits / 2; unit++) await engine.live.read(offsetOf(unit), 4_096);
  await engine.close({ discard: false });
  await measureCold("cold, with a boot list", 0);
  await measureWarm();
}

async function measureCold(what: string, unit: number): Promise<void> {
  const times = { open: [] as number[], first: [] as number[], map: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    rmSync(join(directory, "cache"), { recursive: true, force: true });
    const calls: string[] = [];
    const startMs = performance.now();
    const volume = await OpeningVolume.open(optionsOf({ store: delayed(calls) }));
    times.open.push(performance.now() - startMs);
    await volume.live.read(offsetOf(unit), 4_096);
    times.first.push(performance.now() - startMs);
    const untilFirst = calls.length;
    const engine = await volume.engine;
    times.map.push(performance.now() - startMs);
    if (round === rounds - 1) say(calls.slice(0, untilFirst).join("\n"));
    await engine.close({ discard: false });
  }
  const { open, first, map } = times;
  say(`${what}: open ${summaryOf(open)}, first block ${summaryOf(first)}, map ${summaryOf(map)}`);
  sayMemory();
}

async function measureWarm(): Promise<void> {
  const times = { open: [] as number[], close: [] as number[] };
  let requests = 0;
  for (let round = 0; round < rounds; round++) {
    const calls: string[] = [];
    const startMs = performance.now();
    const engine = await VolumeEngine.open(optionsOf({ store: delayed(calls) }));
    times.open.push(performance.now() - startMs);
    requests = calls.length;
    const closingMs = performance.now();
    await engine.close({ discard: false });
    times.close.push(performance.now() - closingMs);
  }
  const [open, close] = [summaryOf(times.open), summaryOf(times.close)];
  say(`again on the same machine: open ${open}, ${requests} requests; close ${close}`);
  sayMemory();
}

function summaryOf(times: number[]): string {
  const sorted = times.toSorted((a, b) => a - b).map(Math.round);
  return `${sorted[Math.floor(sorted.length / 2)]} ms (${sorted[0]} to ${sorted.at(-1)})`;
}

function sayMemory(): void {
  const nowMb = Math.round(process.memoryUsage().rss / 1e6);
  const mostMb = Math.round(process.resourceUsage().maxRSS / 1e3);
  say(`${nowMb} MB resident, ${mostMb} MB at most`);
}
