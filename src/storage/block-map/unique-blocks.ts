import { must } from "../../base/assert.ts";
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
  readonly #roots: Statement<[number], { leaf_index: number; leaf: number }>;
  readonly #leaf: Statement<[number, number], { data: Uint8Array }>;

  constructor(database: Database) {
    this.#roots = database.prepare("SELECT leaf_index, leaf FROM root WHERE file = ?");
    this.#leaf = database.prepare(
      `SELECT data FROM root JOIN leaf ON leaf.id = root.leaf
       WHERE root.file = ? AND root.leaf_index = ?`,
    );
  }

  /** Leaves that the file shares with a neighbour are not even read. */
  of(fileId: number, neighbourIds: readonly number[]): number {
    const unshared = new Map<number, number>();
    for (const { leaf_index, leaf } of this.#roots.iterate(fileId)) unshared.set(leaf_index, leaf);
    for (const neighbour of neighbourIds) {
      for (const { leaf_index, leaf } of this.#roots.iterate(neighbour)) {
        if (unshared.get(leaf_index) === leaf) unshared.delete(leaf_index);
      }
    }
    let blocks = 0;
    for (const leafIndex of unshared.keys()) {
      const mine = must(this.#read(fileId, leafIndex), "the file has the leaf");
      const others = neighbourIds.map((neighbour) => this.#read(neighbour, leafIndex));
      blocks += countUnique(
        mine,
        others.filter((other) => other !== null),
      );
    }
    return blocks;
  }

  #read(fileId: number, leafIndex: number): Leaf | null {
    const row = this.#leaf.get(fileId, leafIndex);
    return row === undefined ? null : new Leaf(row.data);
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
