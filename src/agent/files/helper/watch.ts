/** Changes below directories, as they happen (contract.md section 7.8). */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, fstatSync, type Stats } from "node:fs";
import { posix } from "node:path";

import { must } from "../../../base/assert.ts";
import { errorCode } from "../../../base/error-code.ts";
import { FileError } from "../../../contract/file-error.ts";
import type { WatchRequest } from "../../../contract/file-requests.ts";
import {
  addWatch,
  changeBits as bits,
  openChanges,
  removeWatch,
} from "../../../host/file-calls.ts";
import type { FileEvent } from "../file-operations.ts";
import type { WatchMessage } from "../helper-protocol.ts";
import { depthMax, watchedDirectoriesMax } from "../limits.ts";
import { readChanges, type Change } from "./changes.ts";
import { childPath, readEntries, statEntry } from "./entries.ts";
import { isNameOfNameless, isPassingName } from "./new-file.ts";
import type { Pace } from "./pace.ts";
import { descriptorPath, fileError, type Root } from "./root.ts";

const askedBits =
  bits.modified |
  bits.attributes |
  bits.movedFrom |
  bits.movedTo |
  bits.created |
  bits.deleted |
  bits.deletedSelf |
  bits.movedSelf |
  bits.onlyDirectory;

interface Watched {
  path: string;
  /** Of a path that is a file: its directory is watched, and only this name counts. Null: all do. */
  names: Set<string> | null;
}

const lostSome = "changes came faster than they could be told; some are lost";
const tooMany = `more than ${watchedDirectoriesMax} directories: the others are not watched`;

/** One subscription. `close` ends it, and `batches` with it. */
export class Watch {
  readonly #root: Root;
  readonly #recursive: boolean;
  readonly #pace: Pace;
  readonly #descriptor: number;
  readonly #watched = new Map<number, Watched>();
  readonly #numbers = new Map<string, number>();
  #reader: ChildProcess | null = null;
  #isFull = false;

  private constructor(root: Root, recursive: boolean, pace: Pace) {
    this.#root = root;
    this.#recursive = recursive;
    this.#pace = pace;
    this.#descriptor = openChanges();
  }

  /** @throws FileError: one of the paths is not there */
  static async open(root: Root, request: WatchRequest, pace: Pace): Promise<Watch> {
    const watch = new Watch(root, request.recursive, pace);
    try {
      for (const path of request.paths) await watch.#begin(path);
      return watch;
    } catch (error) {
      watch.close();
      throw error;
    }
  }

  close(): void {
    this.#reader?.kill("SIGKILL");
    closeSync(this.#descriptor);
  }

  /** Each batch holds what one read gave. */
  async *batches(): AsyncGenerator<readonly WatchMessage[]> {
    if (this.#isFull) yield [{ lost: tooMany }];
    let rest: Buffer = Buffer.alloc(0);
    for await (const bytes of this.#read()) {
      const read = readChanges(rest.length === 0 ? bytes : Buffer.concat([rest, bytes]));
      rest = Buffer.from(read.rest);
      const messages = await this.#told(read.changes);
      if (messages.length > 0) yield messages;
    }
  }

  /**
   * Node cannot wait for such a descriptor, and a thread of its pool that does would be missing there:
   * a program copies it to a pipe. It ends with this process, whatever becomes of that.
   */
  #read(): AsyncIterable<Buffer> {
    const reader = spawn("setpriv", ["--pdeathsig", "KILL", "cat"], {
      stdio: [this.#descriptor, "pipe", "ignore"],
    });
    reader.on("error", () => undefined);
    this.#reader = reader;
    return must(reader.stdout, "its output is piped");
  }

  async #begin(path: string): Promise<void> {
    const isDirectory = this.#root.withNode(path, (node) => fstatSync(node).isDirectory());
    if (isDirectory) {
      await this.#add(path, { depth: 0, found: null });
      return;
    }
    // Programs replace a file by another; whoever watches it means its name.
    const directory = posix.dirname(path);
    const number = this.#watch(directory);
    const names = this.#watched.get(number)?.names;
    if (names === undefined) {
      this.#watched.set(number, { path: directory, names: new Set([posix.basename(path)]) });
      this.#numbers.set(directory, number);
    } else {
      names?.add(posix.basename(path));
    }
  }

  /**
   * Watches a directory, and all below when asked to. What is in there already is told as created to
   * whoever gives a list: it may have come before the watch did.
   */
  async #add(path: string, options: { depth: number; found: FileEvent[] | null }): Promise<void> {
    if (this.#numbers.size >= watchedDirectoriesMax || options.depth > depthMax) {
      this.#isFull = true;
      return;
    }
    const number = this.#watch(path);
    this.#watched.set(number, { path, names: null });
    this.#numbers.set(path, number);
    if (!this.#recursive) return;
    const directory = this.#root.openDirectory(path);
    try {
      for await (const { name, stats } of readEntries(directory, { path, pace: this.#pace })) {
        const child = childPath(path, name);
        options.found?.push(eventOf("create", child, stats));
        if (!stats.isDirectory()) continue;
        await this.#add(child, { ...options, depth: options.depth + 1 }).catch((error: unknown) => {
          // It has gone meanwhile, or is one of the kernel's own.
          if (!(error instanceof FileError) || !isGone.has(error.code)) throw error;
        });
      }
    } finally {
      closeSync(directory);
    }
  }

  #watch(path: string): number {
    const directory = this.#root.openDirectory(path);
    try {
      return addWatch(this.#descriptor, descriptorPath(directory), askedBits);
    } catch (error) {
      if (errorCode(error) !== "ENOSPC") throw fileError(error, "watch", path);
      const reason = "the sprite's directories are watched too often";
      throw new FileError("EOVERFLOW", { verb: "watch", path, reason });
    } finally {
      closeSync(directory);
    }
  }

  async #told(changes: readonly Change[]): Promise<WatchMessage[]> {
    const messages: WatchMessage[] = [];
    // A file that took a passing name first has replaced the other's content.
    const replacing = new Set<number>();
    for (const change of changes) {
      if (this.#pace.isOver) await this.#pace.rest();
      if ((change.bits & bits.overflow) !== 0) messages.push({ lost: lostSome });
      const watched = this.#watched.get(change.watch);
      if (watched === undefined) continue;
      if ((change.bits & bits.ignored) !== 0) this.#forget(change.watch);
      else if (isPassingName(change.name.toString())) replacing.add(change.cookie);
      else await this.#tell(change, watched, { replacing, messages });
    }
    return messages;
  }

  async #tell(
    change: Change,
    watched: Watched,
    { replacing, messages }: { replacing: ReadonlySet<number>; messages: WatchMessage[] },
  ): Promise<void> {
    const name = change.name.toString();
    if (watched.names !== null && !watched.names.has(name)) return;
    const isReplaced = (change.bits & bits.movedTo) !== 0 && replacing.has(change.cookie);
    const kind = isReplaced ? "write" : kindOf(change.bits);
    // A directory's own end is told by the one above, unless nobody watches that.
    if (kind === null || (name === "" && this.#numbers.has(posix.dirname(watched.path)))) return;
    const path = name === "" ? watched.path : childPath(watched.path, name);
    const isDirectory = (change.bits & bits.isDirectory) !== 0 || name === "";
    const stats = kind === "remove" || kind === "rename" ? null : this.#stat(path);
    if (stats === null && (kind === "write" || kind === "chmod") && isNameOfNameless(name)) return;
    push(messages, { ...eventOf(kind, path, stats), isDir: stats?.isDirectory() ?? isDirectory });
    if (!isDirectory || !this.#recursive) return;
    if (kind === "rename") this.#forgetBelow(path);
    if (kind === "create" && watched.names === null) await this.#addNew(path, messages);
  }

  async #addNew(path: string, messages: WatchMessage[]): Promise<void> {
    const wasFull = this.#isFull;
    const found: FileEvent[] = [];
    try {
      await this.#add(path, { depth: 0, found });
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (!isGone.has(error.code)) messages.push({ lost: error.message });
    }
    for (const event of found) push(messages, event);
    if (this.#isFull && !wasFull) messages.push({ lost: tooMany });
  }

  #stat(path: string): Stats | null {
    try {
      return this.#root.withParent(path, ({ directory, name }) => statEntry(directory, name));
    } catch (error) {
      if (error instanceof FileError) return null;
      throw error;
    }
  }

  #forget(number: number): void {
    const watched = this.#watched.get(number);
    this.#watched.delete(number);
    if (watched !== undefined && this.#numbers.get(watched.path) === number) {
      this.#numbers.delete(watched.path);
    }
  }

  /** They have another path now, under which they are found again if that is watched. */
  #forgetBelow(path: string): void {
    for (const [known, number] of this.#numbers) {
      if (known !== path && !known.startsWith(`${path}/`)) continue;
      this.#forget(number);
      removeWatch(this.#descriptor, number);
    }
  }
}

const isGone: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EACCES"]);

function kindOf(found: number): FileEvent["event"] | null {
  if ((found & (bits.created | bits.movedTo)) !== 0) return "create";
  if ((found & bits.modified) !== 0) return "write";
  if ((found & bits.attributes) !== 0) return "chmod";
  if ((found & (bits.movedFrom | bits.movedSelf)) !== 0) return "rename";
  return (found & (bits.deleted | bits.deletedSelf)) !== 0 ? "remove" : null;
}

function eventOf(event: FileEvent["event"], path: string, stats: Stats | null): FileEvent {
  const isDir = stats?.isDirectory() ?? false;
  return { path, event, size: stats?.size ?? 0, isDir, timeMs: Date.now() };
}

/** The same thing told twice in a row is told once, with the newest size. */
function push(messages: WatchMessage[], event: FileEvent): void {
  const last = messages.at(-1);
  if (
    last !== undefined &&
    "path" in last &&
    last.path === event.path &&
    last.event === event.event
  ) {
    messages.pop();
  }
  messages.push(event);
}
