/**
 * What an ext4 superblock says of itself: byte 1024 of the device, 1024 bytes long, little endian
 * (Linux, Documentation/filesystems/ext4/super.rst).
 */

export const superblockOffsetBytes = 1024;
export const superblockSizeBytes = 1024;

const magic = 0xef53;
const offset = {
  blocksLow: 0x04,
  logBlockSize: 0x18,
  magic: 0x38,
  state: 0x3a,
  compatible: 0x5c,
  incompatible: 0x60,
  blocksHigh: 0x150,
} as const;
const hasJournalFlag = 0x4;
const needsRecoveryFlag = 0x4;
const is64BitFlag = 0x80;
/** Every feature that Linux mounts, of those that it refuses a file system for when it does not know them. */
const incompatibleKnown =
  // filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode
  0x2 |
  0x4 |
  0x10 |
  0x40 |
  0x80 |
  0x100 |
  0x200 |
  0x400 |
  // csum_seed, large_dir, inline_data, encrypt, casefold
  (0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000);
const stateKnown = 0x7;

export interface Superblock {
  blockSizeBytes: number;
  sizeBytes: number;
  /** The journal holds changes that the next mount writes into place: it was not unmounted or frozen. */
  needsRecovery: boolean;
  /** The kernel has seen it inconsistent. */
  hasErrors: boolean;
}

/** What a device of this size cannot have at its superblock's place; null when all is in order. */
export function superblockProblem(bytes: Uint8Array, deviceSizeBytes: number): string | null {
  if (bytes.byteLength < superblockSizeBytes) return "its superblock cannot be read whole";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(offset.magic, true) !== magic) return "there is no ext4 file system in it";
  const incompatible = view.getUint32(offset.incompatible, true);
  const unknown = incompatible & ~incompatibleKnown;
  if (unknown !== 0) return `its file system has unknown features (0x${unknown.toString(16)})`;
  if ((view.getUint32(offset.compatible, true) & hasJournalFlag) === 0) return "it has no journal";
  if ((view.getUint16(offset.state, true) & ~stateKnown) !== 0) {
    return "its file system's state makes no sense";
  }
  // 2^(10 + n): 64 KiB at most.
  if (view.getUint32(offset.logBlockSize, true) > 6) return "its block size makes no sense";
  const { sizeBytes } = parseSuperblock(bytes);
  if (sizeBytes === 0) return "its file system has no blocks";
  if (sizeBytes > deviceSizeBytes) {
    return `its file system of ${sizeBytes} bytes does not fit the disk of ${deviceSizeBytes}`;
  }
  return null;
}

/** Of one without a problem. */
export function parseSuperblock(bytes: Uint8Array): Superblock {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const incompatible = view.getUint32(offset.incompatible, true);
  const blockSizeBytes = 1024 * 2 ** view.getUint32(offset.logBlockSize, true);
  const high = (incompatible & is64BitFlag) === 0 ? 0 : view.getUint32(offset.blocksHigh, true);
  const blocks = high * 2 ** 32 + view.getUint32(offset.blocksLow, true);
  return {
    blockSizeBytes,
    sizeBytes: blocks * blockSizeBytes,
    needsRecovery: (incompatible & needsRecoveryFlag) !== 0,
    hasErrors: (view.getUint16(offset.state, true) & 2) !== 0,
  };
}
