/** The paths in which two trees differ, each above the same image. */
import type { BigIntStats } from "node:fs";

import type { DiffEntry } from "../../contract/checkpoint-diff.ts";
import { differenceDepthMax } from "./limits.ts";
import { displayName, type LayeredDirectory, type LayeredEntry } from "./layered-directory.ts";

/** What a guest can make, and so is for its users to hear. */
export class NestedTooDeeply extends Error {
  constructor(path: string) {
    const shown = `${path.slice(0, 60)}...`;
    super(`more than ${differenceDepthMax} directories within each other: ${shown}`);
  }
}

interface Side {
  directory: LayeredDirectory;
  entry: LayeredEntry;
}

/**
 * In order of names, directories before what is in them. Contents are not read: a file has changed
 * when its size, the time of its last writing, its mode or its owner has. What neither tree has in its
 * own layer is the image's in both, and not looked at.
 */
export function* compare(
  before: LayeredDirectory,
  after: LayeredDirectory,
  path = "",
  depth = 0,
): Generator<DiffEntry> {
  if (depth > differenceDepthMax) throw new NestedTooDeeply(path);
  for (const name of namesToCompare(before, after)) {
    const child = `${path}/${displayName(name)}`;
    const was = before.entry(name);
    const is = after.entry(name);
    const old = was === null ? null : { directory: before, entry: was };
    const now = is === null ? null : { directory: after, entry: is };
    if (old !== null && now !== null && kindOf(old) === kindOf(now)) {
      yield* compareEntries(old, now, { name, path: child, depth });
      continue;
    }
    if (old !== null) yield* everything("removed", old, { name, path: child, depth });
    if (now !== null) yield* everything("added", now, { name, path: child, depth });
  }
}

function namesToCompare(before: LayeredDirectory, after: LayeredDirectory): string[] {
  const names = new Set([...before.upperNames(), ...after.upperNames()]);
  if (before.lowerPath !== after.lowerPath) {
    for (const name of [...before.lowerNames(), ...after.lowerNames()]) names.add(name);
  }
  return [...names].sort();
}

interface Place {
  name: string;
  path: string;
  depth: number;
}

function* compareEntries(old: Side, now: Side, place: Place): Generator<DiffEntry> {
  const { name, path, depth } = place;
  if (isChanged(old, now, name)) {
    yield {
      ...describe("changed", now, path),
      ...(kindOf(now) === "directory" ? {} : { old_size: Number(old.entry.stats.size) }),
    };
  }
  if (kindOf(now) !== "directory") return;
  const before = old.directory.open(name);
  const after = now.directory.open(name);
  try {
    // One that is gone meanwhile differs in nothing that could still be told.
    if (before === null || after === null) return;
    const isImages = !before.hasUpper && !after.hasUpper && before.lowerPath === after.lowerPath;
    if (!isImages) yield* compare(before, after, path, depth + 1);
  } finally {
    before?.close();
    after?.close();
  }
}

/** An entry with all that is below it. */
function* everything(
  type: "added" | "removed",
  side: Side,
  { name, path, depth }: Place,
): Generator<DiffEntry> {
  if (depth > differenceDepthMax) throw new NestedTooDeeply(path);
  yield describe(type, side, path);
  if (kindOf(side) !== "directory") return;
  const directory = side.directory.open(name);
  if (directory === null) return;
  try {
    const names = new Set([...directory.upperNames(), ...directory.lowerNames()]);
    for (const inner of [...names].sort()) {
      const entry = directory.entry(inner);
      if (entry === null) continue;
      const place = { name: inner, path: `${path}/${displayName(inner)}`, depth: depth + 1 };
      yield* everything(type, { directory, entry }, place);
    }
  } finally {
    directory.close();
  }
}

function isChanged(old: Side, now: Side, name: string): boolean {
  const [was, is] = [old.entry.stats, now.entry.stats];
  if (was.mode !== is.mode || was.uid !== is.uid || was.gid !== is.gid) return true;
  // A directory's size and times say only that something in it has changed, which is told by itself.
  if (kindOf(now) === "directory") return false;
  if (was.rdev !== is.rdev || was.size !== is.size) return true;
  if (kindOf(now) === "symlink") {
    return old.directory.readLink(name, old.entry) !== now.directory.readLink(name, now.entry);
  }
  return kindOf(now) === "file" && was.mtimeNs !== is.mtimeNs;
}

function describe(type: DiffEntry["type"], { entry }: Side, path: string): DiffEntry {
  const kind = kindOf({ entry });
  return { type, path, kind, size: kind === "directory" ? 0 : Number(entry.stats.size) };
}

function kindOf({ entry }: { entry: { stats: BigIntStats } }): DiffEntry["kind"] {
  const { stats } = entry;
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  return stats.isSymbolicLink() ? "symlink" : "other";
}
