import assert from "node:assert/strict";
import fc from "fast-check";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BlockMap } from "./block-map.ts";
import { unitSizeBytes } from "./geometry.ts";
import { changeLayout, liveBlocks } from "./layout.ts";
import { countBlocks } from "./block-mask.ts";
import { makeMapCopy } from "./testing/make-map-copy.ts";
import type { UnitChange, UnitLayout } from "./types.ts";

/**
 * The map against plain JavaScript maps: random cuts, checkpoints, deletions, restores, collections and
 * restarts, and after each all look-ups, the counters and the garbage have to agree.
 */

const unitCount = 1_024;
/** Few units in three leaves, at their edges, so that changes often meet. */
const units = [0, 1, 2, 254, 255, 256, 257, 511, 512, 1_023];

interface ModelFile {
  content: Map<number, UnitLayout>;
  /** Ancestors, nearest first. */
  history: string[];
}

interface Model {
  lastCut: number;
  live: ModelFile;
  checkpoints: Map<string, ModelFile>;
  nextNumber: number;
  /** Segments in the bucket, with their sizes. */
  segments: Map<number, number>;
  /** Deleted from the bucket; the map forgets them with its next change, and not when it is closed before. */
  deleted: Map<number, number>;
  /** Segments that belong to the map of which this one is a fork. */
  foreign: Map<number, number>;
}

/** The map under test can be closed and replaced, so commands reach it through a holder. */
interface Real {
  map: BlockMap;
  path: string;
}

type Command = fc.AsyncCommand<Model, Real>;

function named(model: Model): Set<number> {
  const files = [model.live, ...model.checkpoints.values()];
  return new Set(
    files.flatMap(({ content }) =>
      [...content.values()].flatMap((layout) => layout.map((s) => s.segment)),
    ),
  );
}

/** Blocks of slices that no other file has, by comparing with all of them. */
function uniqueBlocks(model: Model, file: ModelFile): number {
  const others = [model.live, ...model.checkpoints.values()].filter((other) => other !== file);
  const placesOf = ({ content }: ModelFile): string[] =>
    [...content].flatMap(([unit, layout]) =>
      layout.flatMap(({ segment, offsetBlocks, live }) =>
        Array.from({ length: 16 }, (_, block) => block)
          .filter((block) => (live & (1 << block)) !== 0)
          .map((block) => `${unit} ${segment} ${offsetBlocks} ${block}`),
      ),
    );
  const held = new Set(others.flatMap(placesOf));
  return placesOf(file).filter((place) => !held.has(place)).length;
}

function checkAgreement(model: Model, { map }: Real): void {
  const agree = (fileId: number, { content }: ModelFile): void => {
    for (const unit of units) assert.deepEqual(map.lookup(fileId, unit), content.get(unit) ?? null);
    const range = map.lookupRange(fileId, 0, unitCount);
    const found = new Map(range.flatMap((slice, unit) => (slice === null ? [] : [[unit, slice]])));
    assert.deepEqual(found, new Map([...content].toSorted(([a], [b]) => a - b)));
  };
  agree(map.liveFileId, model.live);
  for (const [id, file] of model.checkpoints) {
    agree(map.checkpointFileId(id), file);
    assert.deepEqual(map.getCheckpoint(id)?.history, file.history);
  }
  const ids = map.listCheckpoints().map(({ id }) => id);
  assert.deepEqual(ids, [...model.checkpoints.keys()].toReversed());
  assert.equal(map.sourceId, model.live.history[0] ?? null);
  assert.deepEqual(map.checkIntegrity(), []);
  const inUse = named(model);
  const unused = [...model.segments.keys()].filter((id) => !inUse.has(id));
  const garbage = map.takeGarbage({ olderThanMs: 0, syncedCut: model.lastCut + 1 });
  assert.deepEqual(
    garbage.map(({ id }) => id),
    unused.toSorted((a, b) => a - b),
  );
  let [usedBlocks, bucketBytes] = [0, 0];
  for (const layout of model.live.content.values()) usedBlocks += countBlocks(liveBlocks(layout));
  for (const [id, sizeBytes] of model.segments) bucketBytes += inUse.has(id) ? sizeBytes : 0;
  const statistics = map.statistics();
  assert.equal(statistics.usedBytes, usedBlocks * 4_096);
  assert.equal(statistics.bucketBytes, bucketBytes);
  const foreign = [...model.foreign].filter(([id]) => inUse.has(id));
  assert.deepEqual(
    map.foreignSegments().flatMap(({ ids }) => ids),
    foreign.map(([id]) => id).toSorted((a, b) => a - b),
  );
  assert.equal(
    statistics.foreignBytes,
    foreign.reduce((sum, [, sizeBytes]) => sum + sizeBytes, 0),
  );
  for (const [id, file] of model.checkpoints) {
    assert.equal(map.getCheckpoint(id)?.uniqueBytes, 4_096 * uniqueBlocks(model, file), id);
  }
}

function command(
  text: string,
  run: (model: Model, real: Real) => void | Promise<void>,
  check: (model: Model) => boolean = () => true,
): Command {
  return {
    check,
    run: async (model, real) => {
      await run(model, real);
      checkAgreement(model, real);
    },
    toString: () => text,
  };
}

interface CutPlan {
  changes: [unit: number, blocks: number, stored: number][];
  segmentCount: number;
  checkpoint: "none" | "manual" | "auto";
}

function runCut(plan: CutPlan, model: Model, { map }: Real): void {
  const ids = Array.from({ length: plan.segmentCount }, () => map.allocateSegment());
  const changes = new Map<number, UnitChange>();
  const offsets = new Map<number, number>();
  for (const [index, [unit, blocks, asked]] of plan.changes.entries()) {
    const segment = ids[index % ids.length];
    const stored = asked & blocks;
    if (stored === 0 || segment === undefined) {
      changes.set(unit, { blocks, slice: null });
      continue;
    }
    const offsetBlocks = offsets.get(segment) ?? 1;
    offsets.set(segment, offsetBlocks + countBlocks(stored));
    const check = unit * 31 + model.lastCut;
    changes.set(unit, { blocks, slice: { segment, offsetBlocks, stored, check } });
  }
  const segments = ids.map((id) => ({ id, sizeBytes: 4_096 * (offsets.get(id) ?? 1) }));
  const isAuto = plan.checkpoint === "auto";
  const checkpoint = { comment: "c", isAuto, createTimeMs: 1_000 * model.lastCut };
  model.deleted.clear();
  const record = map.commitCut({
    cut: ++model.lastCut,
    changes,
    segments,
    ...(plan.checkpoint !== "none" && { checkpoint }),
  });
  for (const [unit, change] of changes) {
    const layout = changeLayout(model.live.content.get(unit) ?? null, change);
    if (layout === null) model.live.content.delete(unit);
    else model.live.content.set(unit, layout);
  }
  for (const { id, sizeBytes } of segments) model.segments.set(id, sizeBytes);
  assert.equal(record === null, plan.checkpoint === "none");
  if (record === null) return;
  if (!isAuto) assert.equal(record.id, `v${model.nextNumber++}`);
  model.checkpoints.set(record.id, copyOf(model.live));
  model.live.history.unshift(record.id);
}

function copyOf(file: ModelFile): ModelFile {
  return { content: new Map(file.content), history: [...file.history] };
}

function pick(model: Model, index: number): string {
  return [...model.checkpoints.keys()][index % model.checkpoints.size] ?? "";
}

const hasCheckpoints = (model: Model): boolean => model.checkpoints.size > 0;

function runDelete(index: number, model: Model, { map }: Real): void {
  const id = pick(model, index);
  if (model.live.history[0] === id) {
    assert.throws(() => map.deleteCheckpoint(id), { code: "conflict" });
    return;
  }
  map.deleteCheckpoint(id);
  model.deleted.clear();
  model.checkpoints.delete(id);
  for (const file of [model.live, ...model.checkpoints.values()]) {
    file.history = file.history.filter((ancestor) => ancestor !== id);
  }
}

function runRestore(index: number, model: Model, { map }: Real): void {
  const id = pick(model, index);
  const wanted = model.checkpoints.get(id);
  assert.ok(wanted);
  const before = model.live.content;
  const changed = units.filter((unit) => {
    const [a, b] = [before.get(unit), wanted.content.get(unit)];
    return JSON.stringify(a) !== JSON.stringify(b);
  });
  assert.deepEqual([...map.restore(id)], changed);
  model.deleted.clear();
  model.live = copyOf(wanted);
  model.live.history.unshift(id);
}

function runCollect(model: Model, { map }: Real): void {
  const garbage = map.takeGarbage({ olderThanMs: 0, syncedCut: model.lastCut + 1 });
  map.markDeleted(garbage.map(({ id }) => id));
  for (const { id, sizeBytes } of garbage) {
    model.segments.delete(id);
    model.deleted.set(id, sizeBytes);
  }
}

/** A new process knows nothing of deletions that no change of the map has taken along. */
function forgetProcess(model: Model): void {
  for (const [id, sizeBytes] of model.deleted) model.segments.set(id, sizeBytes);
  model.deleted.clear();
}

/** Goes on as a fork of itself. */
function runFork(index: number, model: Model, real: Real): void {
  real.map.close();
  const fromCheckpoint = index < model.checkpoints.size ? pick(model, index) : null;
  BlockMap.makeFork(real.path, { fromCheckpoint, owner: "sprites/source" });
  real.map = BlockMap.open(real.path);
  const start = fromCheckpoint === null ? model.live : model.checkpoints.get(fromCheckpoint);
  model.live = { content: new Map(start?.content), history: [] };
  model.checkpoints.clear();
  model.nextNumber = 0;
  for (const [id, sizeBytes] of model.segments) model.foreign.set(id, sizeBytes);
  const inUse = named(model);
  for (const id of model.foreign.keys()) if (!inUse.has(id)) model.foreign.delete(id);
  model.segments.clear();
  model.deleted.clear();
}

async function runCopy(model: Model, real: Real): Promise<void> {
  forgetProcess(model);
  const copy = makeMapCopy(real.map);
  real.map.close();
  await BlockMap.restoreFile(real.path, copy);
  real.map = BlockMap.open(real.path);
}

/** Few blocks, runs of them, or all: so that slices are replaced in part, and now and then as a whole. */
const anyBlocks = fc.oneof(
  fc.integer({ min: 1, max: 0xffff }),
  fc.constantFrom(1, 2, 3, 0x00ff, 0xff00, 0x8000),
  fc.constant(0xffff),
);

const anyCut = fc.record({
  changes: fc.array(fc.tuple(fc.constantFrom(...units), anyBlocks, anyBlocks), { maxLength: 12 }),
  segmentCount: fc.integer({ min: 0, max: 3 }),
  checkpoint: fc.constantFrom("none" as const, "none" as const, "manual" as const, "auto" as const),
});

const anyCommand: fc.Arbitrary<Command>[] = [
  anyCut.map((plan) => command(`cut ${JSON.stringify(plan)}`, (m, r) => runCut(plan, m, r))),
  fc.nat(9).map((i) => command(`delete ${i}`, (m, r) => runDelete(i, m, r), hasCheckpoints)),
  fc.nat(9).map((i) => command(`restore ${i}`, (m, r) => runRestore(i, m, r), hasCheckpoints)),
  fc.constant(command("collect", runCollect)),
  fc.nat(19).map((i) => command(`fork ${i}`, (m, r) => runFork(i, m, r))),
  fc.constant(
    command("reopen", (model, real) => {
      forgetProcess(model);
      real.map.close();
      real.map = BlockMap.open(real.path);
    }),
  ),
  fc.constant(command("copy", runCopy)),
];

describe("block map", () => {
  it("agrees with a plain model", { timeout: 30_000 }, async (test) => {
    // Every commit is synced; in memory that costs nothing, and this test is not about the disk.
    const parent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
    const directory = mkdtempSync(join(parent, "block-map-prop-"));
    test.after(() => rmSync(directory, { recursive: true, force: true }));
    let runCount = 0;
    const property = fc.asyncProperty(
      fc.commands(anyCommand, { maxCommands: 60, size: "max" }),
      async (commands) => {
        const path = join(directory, `map-${runCount++}.db`);
        const sizeBytes = unitCount * unitSizeBytes;
        const real: Real = { map: BlockMap.create(path, { sizeBytes }), path };
        const live: ModelFile = { content: new Map(), history: [] };
        const model: Model = {
          lastCut: 0,
          live,
          checkpoints: new Map(),
          nextNumber: 0,
          segments: new Map(),
          deleted: new Map(),
          foreign: new Map(),
        };
        try {
          await fc.asyncModelRun(() => ({ model, real }), commands);
        } finally {
          real.map.close();
        }
      },
    );
    await fc.assert(property, { numRuns: 100, interruptAfterTimeLimit: 10_000 });
    test.diagnostic(`${runCount} histories`);
  });
});
