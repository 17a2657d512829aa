/** The sizes that every part of the disk agrees on; they are part of the on-disk formats. */

export const blockSizeBytes = 4_096;
export const blocksPerUnit = 16;
/** The mask of all blocks of a unit. */
export const everyBlock = 0xffff;
export const unitSizeBytes = blockSizeBytes * blocksPerUnit;
export const unitsPerLeaf = 256;
