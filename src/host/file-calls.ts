/**
 * The system calls about files that Node does not offer, for processes that look at a sprite's files
 * only: the file helper, and the comparison of checkpoints. x86-64 and arm64.
 */
import { constants } from "node:os";

import koffi from "koffi";

const library = koffi.load("libc.so.6");
/** Of those with two names, as EAGAIN is EWOULDBLOCK too, the one that Node gives them: the first. */
const errorNames = new Map(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

const foreign = {
  openAt2: library.func("syscall", "long", ["long", "int", "str", "void *", "unsigned long"]),
  linkAt: library.func("int linkat(int, const char *, int, void *, int)"),
  notifyStart: library.func("int inotify_init1(int)"),
  notifyAdd: library.func("int inotify_add_watch(int, const char *, unsigned int)"),
  notifyRemove: library.func("int inotify_rm_watch(int, int)"),
  attribute: library.func("int64_t fgetxattr(int, const char *, void *, uint64_t)"),
  seek: library.func("int64_t lseek(int, int64_t, int)"),
};

/** The same on every architecture: it is newer than the unified numbering of 2019. */
const openAt2Number = 437;
const openHowBytes = 24;
/** The largest that ext4 keeps beside an inode, and a path fits. */
const attributeBytesMax = 4096;
const inRoot = 0x10n;
const noMagicLinks = 0x02n;

/** Node names them all but these. */
export const openBits = { path: 0o10000000, temporary: 0o20200000, closeOnExec: 0o2000000 };

/** Like Node's own errors of files: the code is what tells them apart. */
class CallError extends Error {
  readonly code: string;
  constructor(call: string) {
    const number = koffi.errno();
    const code = errorNames.get(number) ?? `errno ${number}`;
    super(`${call}: ${code}`);
    this.code = code;
  }
}

/**
 * Opens a path as if `root` were the root of everything (openat2(2), Linux 5.6): `..` and absolute
 * links stay within, and no link of /proc is followed, since these lead anywhere.
 * @throws an error with a `code`; EAGAIN: something was renamed meanwhile, and it may be tried again
 */
export function openInRoot(root: number, path: string, flags: number): number {
  // struct open_how: flags, mode, resolve, 64 bits each.
  const how = Buffer.alloc(openHowBytes);
  how.writeBigUInt64LE(BigInt(flags | openBits.closeOnExec), 0);
  how.writeBigUInt64LE(inRoot | noMagicLinks, 16);
  const result = Number(foreign.openAt2(openAt2Number, root, path, how, openHowBytes));
  if (result < 0) throw new CallError("openat2");
  return result;
}

/** Gives a file that has no name yet one in a directory. @throws an error with a `code`: EEXIST */
export function linkDescriptor(descriptor: number, directory: number, name: string | Buffer): void {
  const currentDirectory = -100;
  const followLinks = 0x400;
  const source = `/proc/self/fd/${descriptor}`;
  const target = Buffer.concat([Buffer.from(name), Buffer.alloc(1)]);
  const result: unknown = foreign.linkAt(currentDirectory, source, directory, target, followLinks);
  if (result !== 0) throw new CallError("linkat");
}

/**
 * Where the next part of a file lies that holds data, from `offset` on; null when only a hole is
 * left. In bytes.
 */
export function nextData(
  descriptor: number,
  offset: number,
): { start: number; end: number } | null {
  const [seekData, seekHole] = [3, 4];
  const start = Number(foreign.seek(descriptor, offset, seekData));
  if (start < 0) {
    const error = new CallError("lseek");
    if (error.code === "ENXIO") return null;
    throw error;
  }
  const end = Number(foreign.seek(descriptor, start, seekHole));
  if (end < 0) throw new CallError("lseek");
  return { start, end };
}

/** An extended attribute, as text; null when there is none. @throws an error with a `code` */
export function readAttribute(descriptor: number, name: string): string | null {
  const buffer = Buffer.alloc(attributeBytesMax);
  const length = Number(foreign.attribute(descriptor, name, buffer, buffer.length));
  if (length >= 0) return buffer.toString("utf8", 0, length);
  const error = new CallError("fgetxattr");
  if (error.code === "ENODATA" || error.code === "EOPNOTSUPP") return null;
  throw error;
}

/** inotify(7): what is asked for, and what comes. */
export const changeBits = {
  modified: 0x2,
  attributes: 0x4,
  movedFrom: 0x40,
  movedTo: 0x80,
  created: 0x100,
  deleted: 0x200,
  deletedSelf: 0x400,
  movedSelf: 0x800,
  overflow: 0x4000,
  ignored: 0x8000,
  onlyDirectory: 0x0100_0000,
  isDirectory: 0x4000_0000,
};

/** A descriptor from which the changes of watched directories can be read. */
export function openChanges(): number {
  const result = Number(foreign.notifyStart(openBits.closeOnExec));
  if (result < 0) throw new CallError("inotify_init1");
  return result;
}

/** The watch's number: the same again for a directory that is watched. @throws an error with a `code` */
export function addWatch(changes: number, path: string, bits: number): number {
  const result = Number(foreign.notifyAdd(changes, path, bits >>> 0));
  if (result < 0) throw new CallError("inotify_add_watch");
  return result;
}

/** One that has ended by itself is no error. */
export function removeWatch(changes: number, watch: number): void {
  foreign.notifyRemove(changes, watch);
}
