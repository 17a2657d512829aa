/**
 * Blocks of one unit that lie in one segment, one after the other in ascending order. The unit takes from
 * here what `live` says; the rest of what was stored has been replaced since.
 */
export interface Slice {
  /** Row id of the segment; `segmentKey` turns it into the object's key. */
  segment: number;
  /** Place in the segment, in 4 KiB blocks. */
  offsetBlocks: number;
  /** Which blocks of the unit are stored here: bit n for block n, at least one. */
  stored: number;
  /** Those of them that are the unit's content; never none. */
  live: number;
  /** CRC-32 of all the stored bytes. */
  check: number;
}

/**
 * Where the bytes of one 64 KiB unit are: one slice or more, oldest first. No block is live in two; a block
 * that is live in none is zeros. A unit of nothing but zeros has no layout (null).
 */
export type UnitLayout = readonly Slice[];

/** Blocks of a unit as they were just stored. */
export type NewSlice = Omit<Slice, "live">;

/** What a cut makes of a unit. */
export interface UnitChange {
  /** The blocks that get new content. Those that `slice` does not store become zeros. */
  blocks: number;
  /** Null when all of them become zeros. */
  slice: NewSlice | null;
}

/** A unit of one leaf, whichever files name it. */
export interface LeafUnit {
  leaf: number;
  /** The unit's index in the leaf. */
  index: number;
  layout: UnitLayout;
}

export interface LiveUnit {
  unit: number;
  layout: UnitLayout;
}

/** The same blocks of a unit, stored elsewhere. */
export interface LeafRewrite extends LeafUnit {
  /** What the unit gets if its layout is still the one that was found. */
  to: UnitLayout;
}
