import { countBlocks } from "./block-mask.ts";
import type { Leaf } from "./leaf.ts";
import type { UnitLayout } from "./types.ts";

/** How a transaction changes the number of slices in leaves, and of live blocks in them, that name each segment. */
export class ReferenceChanges {
  readonly bySegment = new Map<number, { refs: number; blocks: number }>();

  /** Counts the slices of one unit: +1 when they appear in a leaf, -1 when they go. */
  addLayout(layout: UnitLayout | null, sign: 1 | -1): void {
    for (const { segment, live } of layout ?? [])
      this.#add(segment, sign, sign * countBlocks(live));
  }

  /** Counts every slice of a leaf: +1 when the leaf appears, -1 when it goes. */
  addLeaf(leaf: Leaf, sign: 1 | -1): void {
    leaf.forEachSlice((_, segment, live) => this.#add(segment, sign, sign * countBlocks(live)));
  }

  #add(segment: number, refs: number, blocks: number): void {
    const change = this.bySegment.get(segment);
    if (change === undefined) {
      this.bySegment.set(segment, { refs, blocks });
    } else {
      change.refs += refs;
      change.blocks += blocks;
    }
  }
}
