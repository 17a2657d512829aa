import type { Database, Statement } from "../database.ts";
import { countBlocks } from "./block-mask.ts";
import { unitsPerLeaf } from "./geometry.ts";
import { Leaf } from "./leaf.ts";
import type { UnitLayout } from "./types.ts";

/**
 * How much only one checkpoint holds: the blocks of its slices that no other file names.
 *
 * It is enough to look at the file's *neighbours*: what it descends from, what descends from it, and what
 * descends from the same. Every slice is made once, in the live file, and reaches other files only by cloning
 * and restoring, so the files that hold it hang together in the tree of descent. When a checkpoint between
 * two of them is deleted, its descendants move to its own ancestor, and become neighbours there.
 */
export class UniqueBlocks {
  readonly #unsharedLeaves: Statement<[number, string], { leaf_index: number; data: Uint8Array }>;
  readonly #neighbourLeaves: Statement<[string, number], { data: Uint8Array }>;

  constructor(database: Database) {
    this.#unsharedLeaves = database.prepare(
      `SELECT mine.leaf_index, leaf.data FROM root AS mine JOIN leaf ON leaf.id = mine.leaf
       WHERE mine.file = ? AND NOT EXISTS (
         SELECT 1 FROM json_each(?) AS neighbour CROSS JOIN root
         WHERE root.file = neighbour.value AND root.leaf_index = mine.leaf_index
           AND root.leaf = mine.leaf)`,
    );
    this.#neighbourLeaves = database.prepare(
      `SELECT leaf.data FROM json_each(?) AS neighbour CROSS JOIN root JOIN leaf
       ON leaf.id = root.leaf WHERE root.file = neighbour.value AND root.leaf_index = ?`,
    );
  }

  /** Leaves that the file shares with a neighbour are not even read. */
  of(fileId: number, neighbourIds: readonly number[]): number {
    const neighbours = JSON.stringify(neighbourIds);
    let blocks = 0;
    for (const { leaf_index, data } of this.#unsharedLeaves.all(fileId, neighbours)) {
      const others = this.#neighbourLeaves.all(neighbours, leaf_index);
      blocks += countUnique(
        new Leaf(data),
        others.map((other) => new Leaf(other.data)),
      );
    }
    return blocks;
  }
}

function countUnique(leaf: Leaf, others: readonly Leaf[]): number {
  let blocks = 0;
  for (let index = 0; index < unitsPerLeaf; index++) {
    if (!leaf.isMapped(index)) continue;
    if (others.some((other) => other.isSameEntry(leaf, index))) continue;
    const layouts = others.map((other) => other.layout(index));
    for (const slice of leaf.layout(index) ?? []) {
      blocks += countBlocks(slice.live & ~heldBlocks(layouts, slice));
    }
  }
  return blocks;
}

/** Which of the slice's blocks the layouts name too. */
function heldBlocks(
  layouts: readonly (UnitLayout | null)[],
  slice: { segment: number; offsetBlocks: number },
): number {
  let held = 0;
  for (const other of layouts.flatMap((layout) => layout ?? [])) {
    const isSame = other.segment === slice.segment && other.offsetBlocks === slice.offsetBlocks;
    if (isSame) held |= other.live;
  }
  return held;
}
