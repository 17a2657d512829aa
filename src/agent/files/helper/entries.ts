/** Directories, entry by entry. Names are bytes: a guest may give any but `/` and NUL. */
import { type Dir, lstatSync, opendirSync, type Stats } from "node:fs";
import { posix } from "node:path";

import { errorCode } from "../../../base/error-code.ts";
import { FileError } from "../../../contract/file-error.ts";
import { formatTimestamp } from "../../../contract/timestamp.ts";
import type { Entry } from "../file-operations.ts";
import { directoryEntriesMax } from "../limits.ts";
import { attempt, descriptorPath, entryPath } from "./root.ts";
import type { Pace } from "./pace.ts";

export interface FoundEntry {
  name: Buffer;
  stats: Stats;
}

/** What another process removed meanwhile is left out. */
export async function* readEntries(
  directory: number,
  options: { path: string; pace: Pace; sorted?: boolean },
): AsyncGenerator<FoundEntry> {
  const { path, pace } = options;
  const handle = attempt("open", path, () =>
    opendirSync(descriptorPath(directory), {
      encoding: "buffer" as BufferEncoding,
      bufferSize: 256,
    }),
  );
  try {
    const names = options.sorted === true ? await sortedNames(handle, path, pace) : namesOf(handle);
    for (const name of names) {
      const stats = statEntry(directory, name);
      if (stats !== null) yield { name, stats };
      if (pace.isOver) await pace.rest();
    }
  } finally {
    handle.closeSync();
  }
}

/** Null when there is none. Links are not followed. */
export function statEntry(directory: number, name: Buffer | string): Stats | null {
  try {
    return lstatSync(entryPath(directory, name));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    throw error;
  }
}

function* namesOf(handle: Dir): Generator<Buffer> {
  for (let entry = handle.readSync(); entry !== null; entry = handle.readSync()) {
    // The types do not know that a name may come as its bytes.
    yield entry.name as unknown as Buffer;
  }
}

async function sortedNames(handle: Dir, path: string, pace: Pace): Promise<Buffer[]> {
  const names: Buffer[] = [];
  for (const name of namesOf(handle)) {
    if (names.length === directoryEntriesMax)
      throw new FileError("EOVERFLOW", { verb: "list", path });
    names.push(name);
    if (pace.isOver) await pace.rest();
  }
  return names.toSorted(Buffer.compare);
}

export function childPath(path: string, name: Buffer | string): string {
  return posix.join(path, name.toString());
}

/** @param path absolute; its last part is the name */
export function describeEntry(path: string, stats: Stats): Entry {
  return {
    name: posix.basename(path),
    path,
    type: typeOf(stats),
    size: stats.size,
    mode: formatMode(stats.mode),
    modTime: formatTimestamp(boundedTimeMs(stats.mtimeMs)),
    isDir: stats.isDirectory(),
  };
}

function typeOf(stats: Stats): Entry["type"] {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  return stats.isSymbolicLink() ? "symlink" : "other";
}

export function formatMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

/** A guest may set times that four digits of a year do not hold, which clients cannot read. */
function boundedTimeMs(timeMs: number): number {
  const latestMs = Date.UTC(9999, 11, 31);
  return Math.min(Math.max(timeMs, 0), latestMs);
}
