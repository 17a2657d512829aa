/**
 * Measurements of the engine and of the store in a process of their own, since the bench's own carries the proxy. Takes one JSON text as
 * its argument and writes one to the standard output.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { unitSizeBytes } from "../src/storage/block-map/geometry.ts";
import { openObjectStore } from "../src/storage/object-store/open-object-store.ts";
import type { ObjectStore } from "../src/storage/object-store/object-store.ts";
import { OpeningVolume } from "../src/storage/volume/opening-volume.ts";
import { largeUnits } from "./large-volume.ts";

export type StoreRequest =
  | { kind: "speed"; url: string; prefix: string; atOnce: number; sizeBytesMax: number }
  | { kind: "cold-open"; url: string; prefix: string; directory: string; rounds: number };

export interface Speed {
  megabytesPerSecond: number;
}

export interface ColdOpens {
  firstBlockMs: number[];
  mapMs: number[];
}

/** Whole segments, so many at a time: what the store gives to somebody who does nothing with it. */
async function measureSpeed(
  store: ObjectStore,
  { prefix, atOnce, sizeBytesMax }: Extract<StoreRequest, { kind: "speed" }>,
): Promise<Speed> {
  const keys: string[] = [];
  let wantedBytes = 0;
  for await (const { key, sizeBytes } of store.list(`${prefix}/data/`)) {
    if (wantedBytes >= sizeBytesMax) break;
    keys.push(key);
    wantedBytes += sizeBytes;
  }
  let readBytes = 0;
  const fetchAll = async (): Promise<void> => {
    for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
      const bytes = await store.get(key);
      readBytes += bytes?.length ?? 0;
    }
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: atOnce }, fetchAll));
  return { megabytesPerSecond: readBytes / 1_000 / (performance.now() - startMs) };
}

async function measureColdOpens(
  store: ObjectStore,
  { prefix, directory, rounds }: Extract<StoreRequest, { kind: "cold-open" }>,
): Promise<ColdOpens> {
  const result: ColdOpens = { firstBlockMs: [], mapMs: [] };
  // The first opening of a process compiles the code and connects.
  for (let round = -1; round < rounds; round++) {
    const cacheDirectory = join(directory, "cold");
    await rm(cacheDirectory, { recursive: true, force: true });
    const startMs = performance.now();
    const volume = await OpeningVolume.open({
      ...{ store, prefix, cacheDirectory, cacheSizeBytesMax: 2 ** 30, readOnly: false },
      ...{ sizeBytes: largeUnits * unitSizeBytes, syncIntervalMs: 1_000 },
      onProblem: (problem) => {
        if (problem !== null) throw problem;
      },
    });
    await volume.live.read(0, 4_096);
    const firstBlockMs = performance.now() - startMs;
    const engine = await volume.engine;
    const mapMs = performance.now() - startMs;
    await engine.close({ discard: false });
    if (round < 0) continue;
    result.firstBlockMs.push(firstBlockMs);
    result.mapMs.push(mapMs);
  }
  return result;
}

const request = JSON.parse(process.argv[2] ?? "") as StoreRequest;
const store = await openObjectStore(request.url);
const measured =
  request.kind === "speed"
    ? await measureSpeed(store, request)
    : await measureColdOpens(store, request);
process.stdout.write(JSON.stringify(measured));
process.exit(0);
