/** Where the bytes of one 64 KiB unit are. */
export interface Slice {
  /** Row id of the segment; `segmentKey` turns it into the object's key. */
  segment: number;
  /** Place in the segment, in 4 KiB blocks. */
  offsetBlocks: number;
  /** 1..16: blocks stored, from the unit's start; the unit's other blocks are zeros. */
  lengthBlocks: number;
  /** CRC-32 of the stored bytes. */
  check: number;
}
