/** What the host helper does for each operation. Runs in the helper's process only. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { assert } from "../base/assert.ts";
import { Freezer, thawForeign } from "./freezer.ts";
import type { HelperOperation, HelperValue, MountFlag } from "./helper-protocol.ts";
import { attachLoop, releaseLoop, type AttachedLoop } from "./loop-device.ts";
import * as system from "./system-calls.ts";
import { closeUserNamespace, openMappedUserNamespace } from "./user-namespace.ts";

export class HelperOperations {
  readonly #freezer = new Freezer();
  readonly #loops = new Map<string, AttachedLoop>();
  readonly #userNamespaces = new Map<number, number>();

  async run(operation: HelperOperation): Promise<HelperValue> {
    if (operation.type !== "thaw") await this.#freezer.whenThawed();
    switch (operation.type) {
      case "mount":
        mountFileSystem(operation);
        return null;
      case "bind":
        bind(operation);
        return null;
      case "set_propagation":
        setPropagation(operation.target, operation.propagation);
        return null;
      case "unmount":
        system.unmount(operation.target, operation.lazy ?? false);
        return null;
      case "idmap_mount":
        await this.#idmapMount(operation);
        return null;
      case "overlay_mount":
        mountOverlay(operation);
        return null;
      case "loop_attach":
        return this.#attachLoop(operation);
      case "loop_release":
        this.#releaseLoop(operation.device);
        return null;
      case "freeze":
        await this.#freezer.freeze(operation.directory, operation.timeMsMax);
        return null;
      case "thaw":
        return (await this.#thaw(operation.directory)) ? "thawed" : null;
      case "sync_file_system":
        await syncFileSystem(operation.directory);
        return null;
      case "make_directory":
        makeDirectory(operation);
        return null;
      case "ensure_directories":
        ensureDirectories(operation);
        return null;
      case "make_fifos":
        makeFifos(operation);
        return null;
      case "make_network_namespace":
        makeNetworkNamespace(operation);
        return null;
    }
  }

  /**
   * Nothing that outlives this process: file systems thaw, loop devices that nobody mounted clear
   * themselves.
   */
  async close(): Promise<void> {
    await this.#freezer.thawAll();
    for (const loop of this.#loops.values()) releaseLoop(loop);
    for (const descriptor of this.#userNamespaces.values()) closeUserNamespace(descriptor);
  }

  async #idmapMount(operation: {
    source: string;
    target: string;
    hostIdBase: number;
  }): Promise<void> {
    let namespace = this.#userNamespaces.get(operation.hostIdBase);
    if (namespace === undefined) {
      namespace = await openMappedUserNamespace(operation.hostIdBase);
      this.#userNamespaces.set(operation.hostIdBase, namespace);
    }
    const mount = system.cloneMount(operation.source);
    try {
      system.mapMountOwners(mount, namespace);
      system.attachMount(mount, operation.target);
    } finally {
      closeSync(mount);
    }
  }

  #attachLoop(operation: { backingFile: string; readOnly: boolean; directIo: boolean }): string {
    const loop = attachLoop(operation);
    this.#loops.set(loop.device, loop);
    return loop.device;
  }

  #releaseLoop(device: string): void {
    const loop = this.#loops.get(device);
    // A helper that was restarted in between has released it by ending.
    if (loop === undefined) return;
    this.#loops.delete(device);
    releaseLoop(loop);
  }

  async #thaw(directory: string): Promise<boolean> {
    if (await this.#freezer.thaw(directory)) return true;
    return thawForeign(directory);
  }
}

function mountFileSystem(operation: {
  source: string;
  target: string;
  fileSystem: string;
  flags: readonly MountFlag[];
  data?: string;
}): void {
  system.mount({ ...operation, bits: flagBits(operation.flags), data: operation.data ?? null });
}

/** A bind mount takes its flags only in a second step. */
function bind(operation: { source: string; target: string; flags: readonly MountFlag[] }): void {
  const { source, target } = operation;
  const common = { source, target, fileSystem: "", data: null };
  system.mount({ ...common, bits: system.mountBits.bind });
  if (operation.flags.length === 0) return;
  try {
    const bits = system.mountBits.bind | system.mountBits.remount | flagBits(operation.flags);
    system.mount({ ...common, bits });
  } catch (error) {
    system.unmount(target, true);
    throw error;
  }
}

function setPropagation(target: string, propagation: "private" | "shared" | "slave"): void {
  const bits = system.mountBits[propagation];
  system.mount({ source: "none", target, fileSystem: "", bits, data: null });
}

function mountOverlay(operation: Extract<HelperOperation, { type: "overlay_mount" }>): void {
  const { target, writable } = operation;
  const own = writable === undefined ? [] : [writable.upperDirectory, writable.workDirectory];
  // mount(2) would follow links; nobody changes a disk's outermost entries between here and there.
  for (const path of [...operation.lowerDirectories, ...own]) closeSync(openDirectory(path));
  const options = [`lowerdir=${operation.lowerDirectories.map(escapePath).join(":")}`];
  // Without redirects, renaming a directory of the image fails with EXDEV, which package managers
  // do not expect of a disk. Checkpoints show such directories too, so read-only mounts follow
  // them.
  options.push(writable === undefined ? "redirect_dir=follow" : "redirect_dir=on");
  if (writable !== undefined) {
    options.push(`upperdir=${escapePath(writable.upperDirectory)}`);
    options.push(`workdir=${escapePath(writable.workDirectory)}`);
  }
  const flags: readonly MountFlag[] = writable
    ? operation.flags
    : [...operation.flags, "read_only"];
  // overlayfs makes its work directory as the mounting thread's file-system user; the idmapped
  // layer below knows only the guest's range, so the host's own root could not own anything there.
  system.asFileSystemUser(operation.fileSystemUserId, () => {
    system.mount({
      source: "overlay",
      target,
      fileSystem: "overlay",
      bits: flagBits(flags),
      data: options.join(","),
    });
  });
}

/** overlayfs splits its options at commas and layers at colons. */
function escapePath(path: string): string {
  return path.replaceAll(/[\\,:]/g, "\\$&");
}

async function syncFileSystem(directory: string): Promise<void> {
  const descriptor = openSync(directory, "r");
  try {
    await system.syncFileSystemAside(descriptor, directory);
  } finally {
    closeSync(descriptor);
  }
}

function makeDirectory(operation: {
  path: string;
  mode: number;
  userId: number;
  groupId: number;
}): void {
  mkdirSync(operation.path, { recursive: true, mode: operation.mode });
  const directory = openDirectory(operation.path);
  try {
    fchownSync(directory, operation.userId, operation.groupId);
    // The process's umask took its share of the mode above.
    fchmodSync(directory, operation.mode);
  } finally {
    closeSync(directory);
  }
}

/**
 * A disk that came as an archive holds whatever its maker put there, and a link in the place of a
 * directory would lead to the host's own files.
 * @throws ENOTDIR: it is none, or a link to one
 */
function openDirectory(path: string): number {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  return openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

function ensureDirectories(operation: {
  root: string;
  names: readonly string[];
  fileSystemUserId: number;
}): void {
  for (const name of operation.names) {
    assert(!name.includes("/") && name !== "" && name !== "..", "a name, not a path");
    const path = join(operation.root, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) continue;
    system.asFileSystemUser(operation.fileSystemUserId, () => {
      if (found !== undefined) unlinkSync(path);
      mkdirSync(path, { mode: 0o755 });
    });
  }
}

function makeFifos(operation: {
  paths: readonly string[];
  mode: number;
  userId: number;
  groupId: number;
}): void {
  for (const path of operation.paths) {
    system.makeFifo(path, operation.mode);
    chownSync(path, operation.userId, operation.groupId);
    chmodSync(path, operation.mode);
  }
}

/** A new network namespace, held by a mount of its handle on a file. */
function makeNetworkNamespace(operation: {
  path: string;
  sysctls: ReadonlyArray<readonly [string, string]>;
}): void {
  const { path } = operation;
  writeFileSync(path, "", { flag: "wx" });
  const home = openSync("/proc/self/ns/net", "r");
  try {
    system.unshare(system.namespaceBits.network);
    try {
      assert(
        readFileSync("/proc/thread-self/net/dev", "utf8").includes("lo:"),
        "loopback is there",
      );
      for (const [name, value] of operation.sysctls) {
        writeFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, value);
      }
      const common = { fileSystem: "", data: null };
      const source = "/proc/thread-self/ns/net";
      system.mount({ ...common, source, target: path, bits: system.mountBits.bind });
    } finally {
      system.enterNamespace(home, system.namespaceBits.network);
    }
  } finally {
    closeSync(home);
  }
}

function flagBits(flags: readonly MountFlag[]): number {
  let bits = 0;
  for (const flag of flags) bits |= system.mountBits[flag];
  return bits;
}
