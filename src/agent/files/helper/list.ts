import { closeSync, fstatSync, readlinkSync } from "node:fs";

import { FileError } from "../../../contract/file-error.ts";
import type { ListRequest } from "../../../contract/file-requests.ts";
import type { Entry } from "../file-operations.ts";
import { batchEntriesMax, depthMax, listingEntriesMax } from "../limits.ts";
import { childPath, describeEntry, readEntries } from "./entries.ts";
import { matchesPattern } from "./name-pattern.ts";
import type { Pace } from "./pace.ts";
import { entryPath, openChildDirectory, type Root } from "./root.ts";

/** A directory's entries, or the one file that the path names (contract.md section 7.4). */
export async function* list(
  root: Root,
  { path, recursive, pattern }: ListRequest,
  pace: Pace,
): AsyncGenerator<readonly Entry[]> {
  const stats = root.withNode(path, (node) => fstatSync(node));
  if (!stats.isDirectory()) {
    yield [describeEntry(path, stats)];
    return;
  }
  let batch: Entry[] = [];
  let count = 0;
  for await (const entry of walk(root.openDirectory(path), { path, recursive, pace, depth: 0 })) {
    if (pattern !== null && !matchesPattern(pattern, entry.name)) continue;
    count += 1;
    if (count > listingEntriesMax) throw new FileError("EOVERFLOW", { verb: "list", path });
    batch.push(entry);
    if (batch.length < batchEntriesMax) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Closes the directory. */
async function* walk(
  directory: number,
  options: { path: string; recursive: boolean; pace: Pace; depth: number },
): AsyncGenerator<Entry> {
  const { path, recursive, pace, depth } = options;
  try {
    for await (const found of readEntries(directory, { path, pace, sorted: true })) {
      const entry = describeEntry(childPath(path, found.name), found.stats);
      if (entry.type === "symlink") Object.assign(entry, targetOf(directory, found.name));
      yield entry;
      if (!recursive || !entry.isDir) continue;
      if (depth === depthMax)
        throw new FileError("ENAMETOOLONG", { verb: "list", path: entry.path });
      const inner = openChild(directory, found.name, entry.path);
      if (inner === null) continue;
      yield* walk(inner, { ...options, path: entry.path, depth: depth + 1 });
    }
  } finally {
    closeSync(directory);
  }
}

/** Empty for one that is gone, or no link any more. */
function targetOf(directory: number, name: Buffer): Pick<Entry, "target"> {
  try {
    return { target: readlinkSync(entryPath(directory, name)) };
  } catch {
    return {};
  }
}

/** Null for what is gone, or no directory any more, and for the kernel's own directories. */
function openChild(directory: number, name: Buffer, path: string): number | null {
  try {
    return openChildDirectory(directory, name, { verb: "list", path });
  } catch (error) {
    const isLeftOut = error instanceof FileError && leftOut.has(error.code);
    if (isLeftOut) return null;
    throw error;
  }
}

const leftOut: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EACCES"]);
