/**
 * The sprite's view of its files, by a descriptor of its root. Everything that anybody inside can
 * change is looked up by the kernel within that root, once; what was found is then held by its
 * descriptor, so that no change between check and use leads elsewhere.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  lchownSync,
  statfsSync,
} from "node:fs";
import { posix } from "node:path";

import { errorCode } from "../../../base/error-code.ts";
import { FileError } from "../../../contract/file-error.ts";
import { openBits, openInRoot } from "../../../host/file-calls.ts";
import { raceRetriesMax } from "../limits.ts";
import { Owners } from "./owners.ts";

/**
 * File systems that hold files (statfs(2)). The others show the kernel itself, as /proc does; there
 * this process, which is no process of the sprite, might see or do more than the sprite's root.
 */
const fileSystems: ReadonlySet<number> = new Set([
  0x794c7630, // overlayfs
  0x01021994, // tmpfs
  0xef53, // ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0xe0f5e1e2, // erofs
  0x2fc12fc1, // zfs
]);

/** An entry of a directory, whether it exists or not. */
export interface Place {
  directory: number;
  name: string | Buffer;
}

export class Root {
  readonly owners: Owners;
  readonly #descriptor: number;

  constructor(descriptor: number, hostIdBase: number) {
    this.#descriptor = descriptor;
    this.owners = new Owners(hostIdBase, (path, use) => this.withContent(path, use));
  }

  /** Runs the body with a descriptor that only names what is there (O_PATH); links are followed. */
  withNode<T>(path: string, use: (node: number) => T): T {
    return using(this.#open(path, openBits.path), (node) => {
      refuseKernelFiles(node, path);
      return use(node);
    });
  }

  /** Opens the content of an ordinary file; the caller closes it. @throws FileError EISDIR, EINVAL */
  openContent(path: string): number {
    return this.withNode(path, (node) => {
      const found = fstatSync(node);
      if (found.isDirectory()) throw new FileError("EISDIR", { verb: "read", path });
      // A FIFO would wait for somebody at its other end, and a device is no file.
      if (!found.isFile()) {
        throw new FileError("EINVAL", { verb: "read", path, reason: "no ordinary file" });
      }
      return attempt("open", path, () => reopen(node, constants.O_RDONLY));
    });
  }

  withContent<T>(path: string, use: (descriptor: number) => T): T {
    return using(this.openContent(path), use);
  }

  /** Opens what holds the path's last part; the caller closes it. @throws FileError ENOENT, ENOTDIR */
  openParent(path: string): Place {
    const { dir, base } = posix.parse(path);
    if (base === "") throw new FileError("EBUSY", { verb: "open", path, reason: "is the root" });
    return { directory: this.openDirectory(dir, path), name: base };
  }

  withParent<T>(path: string, use: (place: Place) => T): T {
    const parent = this.openParent(path);
    return using(parent.directory, () => use(parent));
  }

  /** @param about the path that errors are told of */
  openDirectory(path: string, about = path): number {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NONBLOCK;
    const directory = this.#open(path, flags, about);
    return closedOnError(directory, () => {
      refuseKernelFiles(directory, about);
      return directory;
    });
  }

  /**
   * Makes the missing ones of a directory's path, at most so many. Each new one belongs to whom a file
   * there would, and is 0755 (contract.md section 7.5).
   */
  makeDirectories(path: string, options: { asRoot: boolean; countMax: number }): void {
    const missing: string[] = [];
    for (let above = path; !this.#isThere(above); above = posix.dirname(above)) missing.push(above);
    if (missing.length > options.countMax) throw new FileError("ENOENT", { verb: "open", path });
    for (const directory of missing.toReversed()) {
      this.withParent(directory, (parent) => {
        const entry = entryPath(parent.directory, parent.name);
        try {
          mkdirSync(entry, { mode: 0o755 });
        } catch (error) {
          // Somebody was faster, or a link leads nowhere, which shows in the next step.
          if (errorCode(error) === "EEXIST") return;
          throw fileError(error, "mkdir", directory);
        }
        const owner = this.owners.ofNew(directory, options.asRoot);
        attempt("chown", directory, () => lchownSync(entry, ...this.owners.onHost(owner)));
      });
    }
  }

  #isThere(path: string): boolean {
    try {
      closeSync(this.#open(path, openBits.path));
      return true;
    } catch (error) {
      if (error instanceof FileError && error.code === "ENOENT") return false;
      throw error;
    }
  }

  #open(path: string, flags: number, about = path): number {
    for (let retries = 0; ; retries += 1) {
      try {
        return openInRoot(this.#descriptor, path, flags);
      } catch (error) {
        if (errorCode(error) === "EAGAIN" && retries < raceRetriesMax) continue;
        throw fileError(error, "open", about);
      }
    }
  }
}

/** What a directory's entry is called for Node: the kernel follows the descriptor and nothing else. */
export function entryPath(directory: number, name: string | Buffer): string | Buffer {
  const prefix = `${descriptorPath(directory)}/`;
  return typeof name === "string" ? prefix + name : Buffer.concat([Buffer.from(prefix), name]);
}

/** Opens a directory's own directory, no link to one. @throws FileError */
export function openChildDirectory(
  directory: number,
  name: string | Buffer,
  about: { verb: string; path: string },
): number {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  const inner = attempt(about.verb, about.path, () =>
    openSync(entryPath(directory, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
  );
  return closedOnError(inner, () => {
    refuseKernelFiles(inner, about.path);
    return inner;
  });
}

export function descriptorPath(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`;
}

/** Opens what a descriptor names once more, to read or write it. */
export function reopen(node: number, flags: number): number {
  return openSync(descriptorPath(node), flags | constants.O_NONBLOCK);
}

/** @throws FileError EACCES */
export function refuseKernelFiles(descriptor: number, path: string): void {
  const { type } = attempt("open", path, () => statfsSync(descriptorPath(descriptor)));
  if (!fileSystems.has(type)) throw new FileError("EACCES", { verb: "open", path });
}

export function using<T>(descriptor: number, body: (descriptor: number) => T): T {
  try {
    return body(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export function closedOnError<T>(descriptor: number, body: () => T): T {
  try {
    return body();
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

export function attempt<T>(verb: string, path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw fileError(error, verb, path);
  }
}

/** A system call's error as the client sees it; what is none of these goes on as it is. */
export function fileError(error: unknown, verb: string, path: string): unknown {
  if (error instanceof FileError) return error;
  const code = errorCode(error);
  return code !== null && /^E[A-Z0-9]+$/.test(code) ? new FileError(code, { verb, path }) : error;
}
