/**
 * How long a cold open takes on a store that is 20 ms away, with the map of a full 50 GB disk: to the first block, and
 * until the map is here. `node src/storage/volume/testing/cold-open.bench.ts`
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
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
const rounds = 5;
const prefix = "sprites/large";
let beganMs = 0;
const directory = mkdtempSync(join(tmpdir(), "opensprites-cold-"));
const store = await DirectoryObjectStore.open(join(directory, "bucket"));

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function delayed(calls: string[]): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      if (
        !["get", "getRange", "getWithEtag", "swap", "putIfAbsent", "put"].includes(String(name))
      ) {
        return method.bind(target);
      }
      return async (...args: unknown[]) => {
        calls.push(
          `${Math.round(performance.now() - beganMs)} ${String(name)} ${String(args[0]).slice(prefix.length)}`,
        );
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

async function makeVolume(): Promise<void> {
  const engine = await VolumeEngine.open(optionsOf({}));
  for (let unit = 0; unit < unitCount; unit += unitCount / 8) {
    await engine.live.write(unit * unitSizeBytes, randomBytes(unitSizeBytes));
  }
  await engine.close({ discard: false });
  const path = join(directory, "cache", "map.db");
  const map = BlockMap.open(path);
  const [segment] = map.segments();
  const changes = new Map<number, UnitChange>();
  for (let unit = 0; unit < unitCount; unit++) {
    if (unit % (unitCount / 8) === 0) continue;
    const check = randomBytes(4).readUInt32LE();
    const place = { segment: segment?.id ?? 0, offsetBlocks: 1 + (unit % 1_000), stored: 0xffff };
    changes.set(unit, { blocks: 0xffff, slice: { ...place, check } });
  }
  map.commitCut({ cut: map.lastCut + 1, changes, segments: [] });
  map.close();
  await store.deletePrefix(`${prefix}/meta/`);
  await store.deleteMany([`${prefix}/head.json`]);
  await shipFirst({ store, to: prefix }, path);
}

await makeVolume();
for await (const { key, sizeBytes } of store.list(`${prefix}/meta/`)) say(`${key} ${sizeBytes}`);
for (let round = 0; round < rounds; round++) {
  rmSync(join(directory, "cache"), { recursive: true, force: true });
  const calls: string[] = [];
  const startMs = performance.now();
  beganMs = startMs;
  const volume = await OpeningVolume.open(optionsOf({ store: delayed(calls) }));
  const openedMs = performance.now() - startMs;
  await volume.live.read(0, 4_096);
  const firstMs = performance.now() - startMs;
  const untilFirst = calls.length;
  const engine = await volume.engine;
  const hydratedMs = performance.now() - startMs;
  if (round === 0) say(calls.slice(0, untilFirst).join("\n"));
  await engine.close({ discard: false });
  const rssMb = Math.round(process.memoryUsage().rss / 1e6);
  const [opened, first, hydrated] = [openedMs, firstMs, hydratedMs].map(Math.round);
  say(`opened ${opened} ms, first block ${first} ms, map ${hydrated} ms, ${rssMb} MB`);
}
for (let round = 0; round < rounds; round++) {
  const calls: string[] = [];
  const startMs = performance.now();
  beganMs = startMs;
  const engine = await VolumeEngine.open(optionsOf({ store: delayed(calls) }));
  const warmMs = Math.round(performance.now() - startMs);
  say(`reopened on the same machine: ${warmMs} ms, ${calls.length} requests`);
  await engine.close({ discard: false });
}
rmSync(directory, { recursive: true, force: true });
