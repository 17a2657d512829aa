import type { Database } from "../database.ts";
import { unitsPerLeaf } from "./geometry.ts";
import { countBlocks } from "./block-mask.ts";
import { Leaf } from "./leaf.ts";

interface SegmentRow {
  id: number;
  size_bytes: number;
  refs: number;
  blocks: number;
  is_garbage: number;
  owner: string;
}

interface Counted {
  refs: number;
  blocks: number;
}

/** Recomputes every counter from the leaves and reports each that differs. Reads the whole map. */
export function findProblems(database: Database): string[] {
  const problems: string[] = [];
  const report = database.pragma("quick_check");
  if (report !== "ok") problems.push(`SQLite: ${String(report)}`);
  const { blocksByLeaf, bySegment } = countLeaves(database, problems);
  checkFiles(database, blocksByLeaf, problems);
  checkSegments(database, bySegment, problems);
  return problems;
}

function countLeaves(
  database: Database,
  problems: string[],
): { blocksByLeaf: Map<number, number>; bySegment: Map<number, Counted> } {
  const blocksByLeaf = new Map<number, number>();
  const bySegment = new Map<number, Counted>();
  const leaves = database.prepare<[], { id: number; data: Uint8Array }>(
    "SELECT id, data FROM leaf",
  );
  for (const { id, data } of leaves.iterate()) {
    const leaf = new Leaf(data);
    let blocks = 0;
    // Reading a layout verifies what it says.
    for (let index = 0; index < unitsPerLeaf; index++) leaf.layout(index);
    leaf.forEachSlice((_, segment, live) => {
      const count = countBlocks(live);
      blocks += count;
      const counted = bySegment.get(segment) ?? { refs: 0, blocks: 0 };
      bySegment.set(segment, { refs: counted.refs + 1, blocks: counted.blocks + count });
    });
    if (blocks === 0) problems.push(`leaf ${id} is empty`);
    blocksByLeaf.set(id, blocks);
  }
  return { blocksByLeaf, bySegment };
}

function checkFiles(
  database: Database,
  blocksByLeaf: ReadonlyMap<number, number>,
  problems: string[],
): void {
  const files = database.prepare<[], { id: number; name: string; used_blocks: number }>(
    "SELECT id, name, used_blocks FROM file",
  );
  const roots = database.prepare<[number], { leaf_index: number; leaf: number }>(
    "SELECT leaf_index, leaf FROM root WHERE file = ?",
  );
  const named = new Set<number>();
  const indexByLeaf = new Map<number, number>();
  for (const { id, name, used_blocks } of files.all()) {
    let blocks = 0;
    for (const { leaf_index, leaf } of roots.iterate(id)) {
      const leafBlocks = blocksByLeaf.get(leaf);
      if (leafBlocks === undefined) problems.push(`${name} names leaf ${leaf}, which is missing`);
      if ((indexByLeaf.get(leaf) ?? leaf_index) !== leaf_index) {
        problems.push(`leaf ${leaf} is named at two places`);
      }
      indexByLeaf.set(leaf, leaf_index);
      named.add(leaf);
      blocks += leafBlocks ?? 0;
    }
    if (blocks !== used_blocks) {
      problems.push(`${name} maps ${blocks} blocks, its counter says ${used_blocks}`);
    }
  }
  for (const leaf of blocksByLeaf.keys()) {
    if (!named.has(leaf)) problems.push(`leaf ${leaf} is named by no file`);
  }
  const strays = database
    .prepare<[], { count: number }>(
      "SELECT count(*) AS count FROM root WHERE file NOT IN (SELECT id FROM file)",
    )
    .get();
  if (strays?.count !== 0) problems.push(`${strays?.count} root rows belong to no file`);
}

function checkSegments(
  database: Database,
  bySegment: Map<number, Counted>,
  problems: string[],
): void {
  const segments = database.prepare<[], SegmentRow>(
    `SELECT id, size_bytes, refs, blocks, owner, garbage.segment IS NOT NULL AS is_garbage
     FROM segment LEFT JOIN garbage ON garbage.segment = segment.id`,
  );
  let namedBytes = 0;
  let garbageBytes = 0;
  let foreignBytes = 0;
  let lastId = 0;
  for (const row of segments.iterate()) {
    lastId = Math.max(lastId, row.id);
    const counted = bySegment.get(row.id) ?? { refs: 0, blocks: 0 };
    bySegment.delete(row.id);
    if (counted.refs !== row.refs || counted.blocks !== row.blocks) {
      problems.push(
        `segment ${row.id} is named ${counted.refs} times with ${counted.blocks} blocks, ` +
          `its counters say ${row.refs} and ${row.blocks}`,
      );
    }
    if ((row.is_garbage === 1) !== (counted.refs === 0)) {
      problems.push(`segment ${row.id} with ${counted.refs} names is wrongly (not) queued`);
    }
    if (row.owner !== "") foreignBytes += row.size_bytes;
    else if (row.is_garbage === 1) garbageBytes += row.size_bytes;
    else namedBytes += row.size_bytes;
  }
  for (const id of bySegment.keys()) problems.push(`segment ${id} is named and has no row`);
  checkCounter(database, "namedBytes", namedBytes, problems);
  checkCounter(database, "garbageBytes", garbageBytes, problems);
  checkCounter(database, "foreignBytes", foreignBytes, problems);
  const next = counterOf(database, "nextSegment") ?? 0;
  if (lastId >= next) problems.push(`segment ${lastId} has a number that will be given out again`);
}

function checkCounter(database: Database, name: string, actual: number, problems: string[]): void {
  const value = counterOf(database, name);
  if (value !== actual) problems.push(`${name} is ${actual}, its counter says ${value}`);
}

function counterOf(database: Database, name: string): number | undefined {
  return database
    .prepare<[string], { value: number }>("SELECT value FROM attribute WHERE name = ?")
    .get(name)?.value;
}
