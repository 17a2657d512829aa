import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  openSync,
  read as readFile,
  readlinkSync,
  symlinkSync,
  unlinkSync,
  write as writeFile,
  type Stats,
} from "node:fs";
import { promisify } from "node:util";

import { errorCode } from "../../../base/error-code.ts";
import { FileError } from "../../../contract/file-error.ts";
import type { CopyRequest } from "../../../contract/file-requests.ts";
import { nextData, openBits } from "../../../host/file-calls.ts";
import type { CopiedFiles } from "../file-operations.ts";
import { answerPathsMax, chunkBytes, depthMax } from "../limits.ts";
import { childPath, readEntries, statEntry } from "./entries.ts";
import { applyAttributes, NewFile, type Attributes } from "./new-file.ts";
import type { Owner } from "./owners.ts";
import type { Pace } from "./pace.ts";
import {
  attempt,
  descriptorPath,
  entryPath,
  fileError,
  openChildDirectory,
  reopen,
  using,
  type Place,
  type Root,
} from "./root.ts";
import { openTarget } from "./write.ts";

const readAsync = promisify(readFile);
const writeAsync = promisify(writeFile);

/** From and to, for people. */
interface Names {
  source: string;
  dest: string;
}

interface Step extends Names {
  /** Of the source. */
  place: Place;
  stats: Stats;
  into: Place;
  depth: number;
}

/** A file replaces a file; a directory's entries are laid over those of a directory that is there. */
export async function copy(root: Root, request: CopyRequest, pace: Pace): Promise<CopiedFiles> {
  return await new Copying(root, request, pace).run();
}

class Copying {
  readonly #root: Root;
  readonly #request: CopyRequest;
  readonly #pace: Pace;
  readonly #copied: Names[] = [];
  readonly #skipped: string[] = [];
  #count = 0;
  #totalBytes = 0;

  constructor(root: Root, request: CopyRequest, pace: Pace) {
    this.#root = root;
    this.#request = request;
    this.#pace = pace;
  }

  async run(): Promise<CopiedFiles> {
    const { source, recursive } = this.#request;
    const isDirectory = this.#root.withNode(source, (node) => fstatSync(node).isDirectory());
    if (isDirectory && !recursive) throw new FileError("EISDIR", { verb: "copy", path: source });
    if (isDirectory) await this.#copyTopDirectory();
    else await this.#copyTopFile();
    return {
      copied: this.#copied,
      count: this.#count,
      totalBytes: this.#totalBytes,
      ...(this.#skipped.length > 0 ? { skipped: this.#skipped } : {}),
    };
  }

  async #copyTopFile(): Promise<void> {
    const { source, dest } = this.#request;
    const from = this.#root.openContent(source);
    try {
      const { place, ...existing } = openTarget(this.#root, dest, this.#request);
      try {
        await this.#copyContent(from, place, { source, dest, existing, isDurable: true });
      } finally {
        closeSync(place.directory);
      }
    } finally {
      closeSync(from);
    }
  }

  async #copyTopDirectory(): Promise<void> {
    const { source, dest } = this.#request;
    if (dest === source || dest.startsWith(source === "/" ? "/" : `${source}/`)) {
      throw intoItself(source);
    }
    const from = this.#root.openDirectory(source);
    try {
      const into = this.#root.openParent(dest);
      try {
        // By whatever links: what is written would be found again, and copied again.
        if (isWithin(from, into.directory)) throw intoItself(source);
        await this.#copyDirectory(from, into, { source, dest, depth: 0 });
      } finally {
        closeSync(into.directory);
      }
    } finally {
      closeSync(from);
    }
  }

  async #copyDirectory(
    from: number,
    into: Place,
    { source, dest, depth }: Names & { depth: number },
  ): Promise<void> {
    if (depth > depthMax) throw new FileError("ENAMETOOLONG", { verb: "copy", path: source });
    const isNew = attempt("mkdir", dest, () => makeDirectory(entryPath(into.directory, into.name)));
    const target = openChildDirectory(into.directory, into.name, { verb: "copy", path: dest });
    const stats = fstatSync(from);
    try {
      this.#note({ source, dest });
      for await (const found of readEntries(from, { path: source, pace: this.#pace })) {
        await this.#copyEntry({
          source: childPath(source, found.name),
          dest: childPath(dest, found.name),
          place: { directory: from, name: found.name },
          stats: found.stats,
          into: { directory: target, name: found.name },
          depth: depth + 1,
        });
      }
    } finally {
      // Last, since it may take the right to write into it away, and its times change until now. Also when
      // the copy has failed: whoever asked for it must be able to remove what there is of it.
      using(target, () => {
        if (isNew) applyAttributes(target, this.#attributes(stats, dest, null));
      });
    }
  }

  async #copyEntry(step: Step): Promise<void> {
    const { place, stats, into, source } = step;
    if (stats.isDirectory()) {
      const about = { verb: "copy", path: source };
      const inner = openChildDirectory(place.directory, place.name, about);
      try {
        await this.#copyDirectory(inner, into, step);
      } finally {
        closeSync(inner);
      }
    } else if (stats.isSymbolicLink()) {
      this.#copyLink(step);
    } else if (stats.isFile()) {
      await this.#copyFile(step);
    } else if (this.#skipped.length < answerPathsMax) {
      this.#skipped.push(source);
    }
  }

  #copyLink({ place, stats, into, source, dest }: Step): void {
    const target = entryPath(into.directory, into.name);
    attempt("copy", dest, () => {
      const link = readlinkSync(entryPath(place.directory, place.name), { encoding: "buffer" });
      // As cp does: whatever is there but a directory gives way.
      const there = statEntry(into.directory, into.name);
      if (there !== null && !there.isDirectory()) unlinkSync(target);
      symlinkSync(link, target);
      const { hostOwner, times } = this.#attributes(stats, dest, null);
      lchownSync(target, ...hostOwner);
      if (times !== undefined) lutimesSync(target, times.accessed, times.modified);
    });
    this.#note({ source, dest });
  }

  async #copyFile({ place, into, source, dest }: Step): Promise<void> {
    const there = statEntry(into.directory, into.name);
    if (there !== null && !there.isFile()) {
      throw new FileError("EEXIST", { verb: "copy", path: dest });
    }
    const existing =
      there === null
        ? { mode: null, owner: this.#root.owners.ofNew(dest, this.#request.asRoot) }
        : { mode: there.mode & 0o7777, owner: this.#root.owners.fromHost(there) };
    const from = openOrdinary(place, source);
    try {
      await this.#copyContent(from, into, { source, dest, existing, isDurable: false });
    } finally {
      closeSync(from);
    }
  }

  async #copyContent(
    from: number,
    place: Place,
    options: Names & { existing: Existing; isDurable: boolean },
  ): Promise<void> {
    const { source, dest, existing, isDurable } = options;
    const file = attempt("copy", dest, () => NewFile.create(place));
    try {
      const stats = fstatSync(from);
      this.#totalBytes += await this.#copyBytes(from, file.descriptor);
      await file.publish(this.#attributes(stats, dest, existing), { isDurable });
      this.#note({ source, dest });
    } catch (error) {
      throw fileError(error, "copy", dest);
    } finally {
      file.close(dest);
    }
  }

  /** Holes stay holes. Resolves with the size. */
  async #copyBytes(from: number, to: number): Promise<number> {
    const buffer = Buffer.allocUnsafeSlow(chunkBytes);
    let position = 0;
    for (let part = nextData(from, 0); part !== null; part = nextData(from, position)) {
      position = part.start;
      while (position < part.end) {
        const wanted = Math.min(buffer.length, part.end - position);
        const { bytesRead } = await readAsync(from, buffer, 0, wanted, position);
        // It has become shorter meanwhile: the rest of the part is not there any more.
        if (bytesRead === 0) return position;
        await writeAll(to, buffer.subarray(0, bytesRead), position);
        position += bytesRead;
        if (this.#pace.isOver) await this.#pace.rest();
      }
    }
    const size = Math.max(fstatSync(from).size, position);
    ftruncateSync(to, size);
    return size;
  }

  #attributes(source: Stats, dest: string, existing: Existing | null): Attributes {
    const { preservesAttributes, asRoot } = this.#request;
    const { owners } = this.#root;
    if (preservesAttributes) {
      const times = { accessed: source.atime, modified: source.mtime };
      const hostOwner = owners.onHost(owners.fromHost(source));
      return { mode: source.mode & 0o7777, hostOwner, times };
    }
    const owner = existing?.owner ?? owners.ofNew(dest, asRoot);
    return { mode: existing?.mode ?? source.mode & 0o777, hostOwner: owners.onHost(owner) };
  }

  #note(names: Names): void {
    this.#count += 1;
    if (this.#copied.length < answerPathsMax) this.#copied.push(names);
  }
}

/** Of the file that a copy replaces. */
interface Existing {
  mode: number | null;
  owner: Owner;
}

function intoItself(path: string): FileError {
  const reason = "a directory cannot be copied into itself";
  return new FileError("EINVAL", { verb: "copy", path, reason });
}

/** Whether the second directory is the first, or below it. */
function isWithin(directory: number, inner: number): boolean {
  const [above, path] = [directory, inner].map((one) => readlinkSync(descriptorPath(one)));
  return above === "/" || path === above || path?.startsWith(`${above}/`) === true;
}

/** Between the look and the opening, a file may have become a FIFO, a device or a link. */
function openOrdinary({ directory, name }: Place, path: string): number {
  return attempt("copy", path, () => {
    const flags = openBits.path | constants.O_NOFOLLOW;
    return using(openSync(entryPath(directory, name), flags), (node) => {
      if (!fstatSync(node).isFile()) throw new FileError("EINVAL", { verb: "copy", path });
      return reopen(node, constants.O_RDONLY);
    });
  });
}

async function writeAll(descriptor: number, bytes: Buffer, position: number): Promise<void> {
  for (let offset = 0; offset < bytes.length;) {
    const rest = bytes.length - offset;
    const { bytesWritten } = await writeAsync(descriptor, bytes, offset, rest, position + offset);
    offset += bytesWritten;
  }
}

/** True when it was not there yet. */
function makeDirectory(path: string | Buffer): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}
