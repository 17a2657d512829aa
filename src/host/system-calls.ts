/** The system calls that Node does not offer, for the host helper's process only. x86-64 and arm64. */
import { constants } from "node:os";

import koffi from "koffi";

/** A system call's error, with its symbolic name. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  readonly call: string;
  readonly errno: string;

  constructor(call: string, errno: string, what: string) {
    super(`${call} ${what}: ${errno}`);
    this.call = call;
    this.errno = errno;
  }
}

const unknownError = "failed";
const library = koffi.load("libc.so.6");
/** As in file-calls.ts: the first of two names. */
const errorNames = new Map(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

const foreign = {
  mount: library.func(
    "int mount(const char *, const char *, const char *, unsigned long, const char *)",
  ),
  unmount: library.func("int umount2(const char *, int)"),
  ioctlValue: library.func("ioctl", "int", ["int", "unsigned long", "long"]),
  ioctlBuffer: library.func("ioctl", "int", ["int", "unsigned long", "void *"]),
  syncFileSystem: library.func("int syncfs(int)"),
  makeFifo: library.func("int mkfifo(const char *, unsigned int)"),
  makeNode: library.func("int mknod(const char *, unsigned int, unsigned long)"),
  unshare: library.func("int unshare(int)"),
  setNamespace: library.func("int setns(int, int)"),
  setFileSystemUser: library.func("int setfsuid(unsigned int)"),
  setFileSystemGroup: library.func("int setfsgid(unsigned int)"),
  control: library.func(
    "int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)",
  ),
  openTree: library.func("syscall", "long", ["long", "int", "str", "unsigned int"]),
  setMountAttributes: library.func("syscall", "long", [
    "long",
    "int",
    "str",
    "unsigned int",
    "void *",
    "unsigned long",
  ]),
  moveMount: library.func("syscall", "long", ["long", "int", "str", "int", "str", "unsigned int"]),
};

/** The same on every architecture: they are newer than the unified numbering of 2019. */
const callNumbers = { openTree: 428, moveMount: 429, setMountAttributes: 442 };

const atEmptyPath = 0x1000;
const atCurrentDirectory = -100;

export const mountBits = {
  read_only: 0x1,
  no_suid: 0x2,
  no_device: 0x4,
  no_execute: 0x8,
  no_access_time: 0x400,
  remount: 0x20,
  bind: 0x1000,
  recursive: 0x4000,
  private: 0x4_0000,
  slave: 0x8_0000,
  shared: 0x10_0000,
};

export const namespaceBits = { network: 0x4000_0000 };

export function mount(options: {
  source: string;
  target: string;
  fileSystem: string;
  bits: number;
  data: string | null;
}): void {
  const { source, target, fileSystem, bits, data } = options;
  const result: unknown = foreign.mount(source, target, fileSystem, bits, data);
  check(result, "mount", `${fileSystem || "bits"} at ${target}`);
}

export function unmount(target: string, lazy: boolean): void {
  const detach = 2;
  const noFollow = 8;
  const result: unknown = foreign.unmount(target, noFollow | (lazy ? detach : 0));
  check(result, "umount2", target);
}

/** A private copy of one mount (not of those below it), not yet visible anywhere. Closing it undoes it. */
export function cloneMount(source: string): number {
  const clone = 1;
  const closeOnExec = 0o2000000;
  const result: unknown = foreign.openTree(
    callNumbers.openTree,
    atCurrentDirectory,
    source,
    clone | closeOnExec,
  );
  return check(result, "open_tree", source);
}

/** Maps the owners of all files in a mount that is not yet visible through a user namespace. */
export function mapMountOwners(mountDescriptor: number, userNamespaceDescriptor: number): void {
  const idmap = 0x10_0000n;
  // struct mount_attr: attr_set, attr_clr, propagation, userns_fd, 64 bits each.
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(idmap, 0);
  attributes.writeBigUInt64LE(BigInt(userNamespaceDescriptor), 24);
  const result: unknown = foreign.setMountAttributes(
    callNumbers.setMountAttributes,
    mountDescriptor,
    "",
    atEmptyPath,
    attributes,
    attributes.byteLength,
  );
  check(result, "mount_setattr", "owners");
}

export function attachMount(mountDescriptor: number, target: string): void {
  const fromEmptyPath = 4;
  const result: unknown = foreign.moveMount(
    callNumbers.moveMount,
    mountDescriptor,
    "",
    atCurrentDirectory,
    target,
    fromEmptyPath,
  );
  check(result, "move_mount", target);
}

export function ioctl(descriptor: number, request: number, value: number, what: string): number {
  const result: unknown = foreign.ioctlValue(descriptor, request, value);
  return check(result, "ioctl", what);
}

export function ioctlWithBuffer(
  descriptor: number,
  request: number,
  buffer: Buffer,
  what: string,
): void {
  const result: unknown = foreign.ioctlBuffer(descriptor, request, buffer);
  check(result, "ioctl", what);
}

/**
 * The same on a thread of its own, for requests that may take long. The error's number stays on
 * that thread.
 */
export function ioctlAside(descriptor: number, request: number, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    foreign.ioctlValue.async(descriptor, request, 0, (error: Error | null, result: unknown) => {
      if (error !== null) reject(error);
      else if (result === 0) resolve();
      else reject(new SystemCallError("ioctl", unknownError, what));
    });
  });
}

export function syncFileSystemAside(descriptor: number, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    foreign.syncFileSystem.async(descriptor, (error: Error | null, result: unknown) => {
      if (error !== null) reject(error);
      else if (result === 0) resolve();
      else reject(new SystemCallError("syncfs", unknownError, what));
    });
  });
}

export function makeFifo(path: string, mode: number): void {
  const result: unknown = foreign.makeFifo(path, mode);
  check(result, "mkfifo", path);
}

export function makeBlockDevice(path: string, major: number, minor: number): void {
  const blockDevice = 0o060000;
  const device = (major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12);
  const result: unknown = foreign.makeNode(path, blockDevice | 0o600, device);
  check(result, "mknod", path);
}

export function unshare(bits: number): void {
  const result: unknown = foreign.unshare(bits);
  check(result, "unshare", `0x${bits.toString(16)}`);
}

export function enterNamespace(descriptor: number, bits: number): void {
  const result: unknown = foreign.setNamespace(descriptor, bits);
  check(result, "setns", `0x${bits.toString(16)}`);
}

/** From now on, changing the file-system user of this thread leaves its capabilities alone. */
export function keepCapabilities(): void {
  const setSecureBits = 28;
  const noSetuidFixup = 4;
  const result: unknown = foreign.control(setSecureBits, noSetuidFixup, 0, 0, 0);
  check(result, "prctl", "SECBIT_NO_SETUID_FIXUP");
}

/** Runs the body with files made by this thread owned by that host user. */
export function asFileSystemUser<T>(userId: number, body: () => T): T {
  foreign.setFileSystemGroup(userId);
  foreign.setFileSystemUser(userId);
  try {
    return body();
  } finally {
    foreign.setFileSystemUser(0);
    foreign.setFileSystemGroup(0);
  }
}

function check(result: unknown, call: string, what: string): number {
  if (typeof result === "number" && result >= 0) return result;
  throw new SystemCallError(call, errorName(), what);
}

function errorName(): string {
  const number = koffi.errno();
  return errorNames.get(number) ?? `errno ${number}`;
}
