import { copyFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockMap } from "../block-map.ts";
import {
  blockSizeBytes,
  blocksPerUnit,
  everyBlock,
  unitsPerLeaf,
  unitSizeBytes,
} from "../geometry.ts";
import type { UnitChange } from "../types.ts";

/** Run it by hand: `bin/node24 src/storage/block-map/testing/block-map.bench.ts`. One JSON object a line. */

const gibibyte = 2 ** 30;
const unitsPerSegment = 63;
const segmentSizeBytes = blockSizeBytes * (1 + unitsPerSegment * blocksPerUnit);

function commitUnits(map: BlockMap, units: readonly number[], isCheckpoint = false): void {
  const changes = new Map<number, UnitChange>();
  const segments: { id: number; sizeBytes: number }[] = [];
  for (const [index, unit] of units.entries()) {
    const position = index % unitsPerSegment;
    if (position === 0) segments.push({ id: map.allocateSegment(), sizeBytes: segmentSizeBytes });
    const slice = {
      segment: segments.at(-1)?.id ?? 0,
      offsetBlocks: 1 + position * blocksPerUnit,
      stored: everyBlock,
      check: (unit * 2_654_435_761) >>> 0,
    };
    changes.set(unit, { blocks: everyBlock, slice });
  }
  const checkpoint = { comment: "", isAuto: false, createTimeMs: 0 };
  map.commitCut({ cut: map.lastCut + 1, changes, segments, ...(isCheckpoint && { checkpoint }) });
}

function fill(map: BlockMap, sizeBytes: number): void {
  const unitCount = sizeBytes / unitSizeBytes;
  for (let first = 0; first < unitCount; first += 50_000) {
    const count = Math.min(50_000, unitCount - first);
    commitUnits(
      map,
      Array.from({ length: count }, (_, index) => first + index),
    );
  }
}

function scattered(count: number, unitCount: number, round: number): number[] {
  const units = new Set<number>();
  for (let index = 0; units.size < count; index++) {
    units.add((index * 7_919_017 + round * 104_729 + 13) % unitCount);
  }
  return [...units];
}

function report(name: string, unit: string, samples: readonly number[]): void {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    Number(
      (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(2),
    );
  const line = { name, unit, n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function time(samples: number[], work: () => unknown): Promise<void> {
  const startMs = performance.now();
  await work();
  samples.push(performance.now() - startMs);
}

async function measureFull(directory: string): Promise<void> {
  const path = join(directory, "full.db");
  const map = BlockMap.create(path, { sizeBytes: 100 * gibibyte });
  fill(map, 50 * gibibyte);
  const unitCount = (50 * gibibyte) / unitSizeBytes;
  const lookups: number[] = [];
  for (const unit of scattered(2_000, unitCount, 1)) {
    await time(lookups, () => map.lookup(map.liveFileId, unit));
  }
  report(
    "map.lookup",
    "us",
    lookups.map((sampleMs) => sampleMs * 1_000),
  );
  const [clones, copied, inPlace, small]: number[][] = [[], [], [], []];
  for (let round = 0; round < 10; round++) {
    await time(clones ?? [], () => commitUnits(map, [], true));
    await time(copied ?? [], () => commitUnits(map, scattered(1_000, unitCount, round)));
    await time(inPlace ?? [], () => commitUnits(map, scattered(1_000, unitCount, round)));
    await time(small ?? [], () => commitUnits(map, scattered(10, unitCount, round)));
  }
  report("map.checkpoint_50GB", "ms", clones ?? []);
  report("map.cut_1000_units_shared_leaves", "ms", copied ?? []);
  report("map.cut_1000_units_own_leaves", "ms", inPlace ?? []);
  report("map.cut_10_units", "ms", small ?? []);
  const [records, known]: number[][] = [[], []];
  map.close();
  const again = BlockMap.open(path);
  const oneOfEachLeaf = Array.from(
    { length: unitCount / unitsPerLeaf },
    (_, leaf) => leaf * unitsPerLeaf,
  );
  for (let round = 0; round < 2; round++) {
    commitUnits(again, oneOfEachLeaf);
    commitUnits(again, [], true);
  }
  commitUnits(again, oneOfEachLeaf);
  await time(known ?? [], () => again.getCheckpoint("v11"));
  report("map.unique_bytes_50GB_all_leaves_differ", "ms", known ?? []);
  commitUnits(again, scattered(10, unitCount, 99));
  commitUnits(again, [], true);
  commitUnits(again, scattered(10, unitCount, 98));
  await time(records ?? [], () => again.getCheckpoint("v12"));
  report("map.unique_bytes_50GB_10_leaves_differ", "ms", records ?? []);
  again.listCheckpoints();
  const lists: number[] = [];
  for (let round = 0; round < 10; round++) await time(lists, () => again.listCheckpoints());
  report("map.list_13_checkpoints_50GB", "ms", lists);
  const [restores, deletes]: number[][] = [[], []];
  await time(restores ?? [], () => again.restore("v0"));
  for (let round = 1; round < 10; round++) {
    await time(deletes ?? [], () => again.deleteCheckpoint(`v${round}`));
  }
  report("map.restore_50GB_all_leaves_differ", "ms", restores ?? []);
  report("map.delete_checkpoint_50GB", "ms", deletes ?? []);
  again.close();
  await measureFork(path);
}

async function measureFork(path: string): Promise<void> {
  const copy = `${path}.fork`;
  copyFileSync(path, copy);
  const forks: number[] = [];
  await time(forks, () => {
    BlockMap.makeFork(copy, { fromCheckpoint: "v0", owner: "sprites/source" });
  });
  report("map.make_fork_50GB", "ms", forks);
}

async function measureSize(directory: string): Promise<void> {
  const path = join(directory, "size.db");
  const map = BlockMap.create(path, { sizeBytes: 100 * gibibyte });
  fill(map, 50 * gibibyte);
  map.close();
  report("map.file_size_50GB", "MB", [statSync(path).size / 1e6]);
}

async function measureRestore(directory: string): Promise<void> {
  const map = BlockMap.create(join(directory, "restore.db"), { sizeBytes: 100 * gibibyte });
  fill(map, 5 * gibibyte);
  const unitCount = (5 * gibibyte) / unitSizeBytes;
  const [few, all]: number[][] = [[], []];
  for (let round = 0; round < 10; round++) {
    commitUnits(map, [], true);
    commitUnits(
      map,
      Array.from({ length: 20 }, (_, index) => index * 3),
    );
    await time(few ?? [], () => map.restore(`v${round}`));
  }
  for (let round = 0; round < 10; round++) {
    commitUnits(map, scattered(1_000, unitCount, round));
    await time(all ?? [], () => map.restore("v9"));
  }
  report("map.restore_5GB_few_changes", "ms", few ?? []);
  report("map.restore_5GB_all_leaves_differ", "ms", all ?? []);
  map.close();
}

const directory = mkdtempSync(join(tmpdir(), "block-map-bench-"));
try {
  await measureFull(directory);
  await measureSize(directory);
  await measureRestore(directory);
} finally {
  rmSync(directory, { recursive: true });
}
