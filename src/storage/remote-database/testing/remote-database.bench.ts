import SqliteDatabase from "better-sqlite3";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Hydration } from "../hydration.ts";
import type { ReadableStore } from "../ltx-object.ts";
import { PageSource } from "../page-source.ts";
import { RemoteTables } from "../table.ts";
import { ChainRecorder } from "./chain.ts";

/**
 * A full 100 GB volume's map (1,600,000 units in 6,250 leaves) behind a store that takes its time. Run it by hand:
 * `bin/node24 src/storage/remote-database/testing/remote-database.bench.ts`. One JSON object a line; the memory is what
 * the process needed at most beyond what it had before (the store's own bytes are not counted).
 */

const leafCount = 6_250;
const entriesPerLeaf = 256;
const entrySizeBytes = 12;

/** Entries as a disk that was filled in order has them: places in sequence, checks that are random. */
function leafData(leaf: number): Buffer {
  const data = randomBytes(entriesPerLeaf * entrySizeBytes);
  for (let entry = 0; entry < entriesPerLeaf; entry++) {
    const unit = leaf * entriesPerLeaf + entry;
    data.writeUInt32LE(Math.floor(unit / 63), entry * entrySizeBytes);
    data.writeUInt16LE(1 + (unit % 63) * 16, entry * entrySizeBytes + 4);
    data.writeUInt16LE(16, entry * entrySizeBytes + 6);
  }
  return data;
}

function recordMap(): ChainRecorder {
  const database = new SqliteDatabase(":memory:");
  database.exec(`
    CREATE TABLE leaf (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE TABLE root (file INTEGER, leaf_index INTEGER, leaf INTEGER, PRIMARY KEY (file, leaf_index))
      STRICT, WITHOUT ROWID`);
  const leaf = database.prepare("INSERT INTO leaf VALUES (?, 1, ?)");
  const root = database.prepare("INSERT INTO root VALUES (1, ?, ?)");
  database.transaction(() => {
    for (let index = 0; index < leafCount; index++) {
      leaf.run(BigInt(index + 1), leafData(index));
      root.run(BigInt(index), BigInt(index + 1));
    }
  })();
  const chain = new ChainRecorder(database, 4_096);
  chain.commit();
  database.close();
  return chain;
}

const rounded = (value: number): number => Math.round(value * 10) / 10;

async function measure(
  chain: ChainRecorder,
  latencyMs: number,
  isHydrating: boolean,
): Promise<void> {
  const objects = new Map(chain.files.map(({ key, bytes }) => [key, bytes]));
  let requestCount = 0;
  const store: ReadableStore = {
    async get(key) {
      requestCount++;
      await setTimeout(latencyMs);
      return Uint8Array.from(objects.get(key) ?? []);
    },
    async getRange(key, offset, length) {
      requestCount++;
      await setTimeout(latencyMs);
      return Uint8Array.from(objects.get(key)?.subarray(offset, offset + length) ?? []);
    },
  };
  const directory = mkdtempSync(join(tmpdir(), "opensprites-bench-"));
  const rssBefore = process.memoryUsage.rss();
  let rssMax = 0;
  const watch = setInterval(() => (rssMax = Math.max(rssMax, process.memoryUsage.rss())), 5);
  const start = performance.now();
  const sinceStart = (): number => rounded(performance.now() - start);

  const source = await PageSource.open({ store, files: chain.files });
  const openedMs = sinceStart();
  const hydration = new Hydration({ source, path: join(directory, "map.db") });
  const running = isHydrating ? hydration.run() : Promise.resolve();
  const hydrated = running.then(sinceStart);
  const tables = await RemoteTables.open(hydration);
  const [roots, leaves] = await Promise.all([tables.table("root"), tables.table("leaf")]);
  const lookUp = async (index: number): Promise<void> => {
    const row = await roots.findRow(1, index);
    await leaves.findRow(row?.[2] ?? 0);
  };
  await lookUp(4_000);
  const firstRowMs = sinceStart();
  const lookUps: number[] = [];
  for (const index of [100, 6_000, 700, 1_500, 2_500]) {
    const before = performance.now();
    await lookUp(index);
    lookUps.push(rounded(performance.now() - before));
  }
  const hydratedMs = await hydrated;
  clearInterval(watch);
  await hydration.close();
  rmSync(directory, { recursive: true });
  const memoryMB = rounded((rssMax - rssBefore) / 1e6);
  const result = { latencyMs, isHydrating, openedMs, firstRowMs, lookUps, requestCount };
  const report = { ...result, ...(isHydrating && { hydratedMs, memoryMB }) };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

const chain = recordMap();
const sizes = { databaseBytes: chain.database.length, ltxBytes: chain.files[0]?.sizeBytes };
process.stdout.write(`${JSON.stringify(sizes)}\n`);
for (const latencyMs of [20, 0, 5, 60]) {
  for (const isHydrating of [true, false]) await measure(chain, latencyMs, isHydrating);
}
