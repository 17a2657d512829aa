import { closeSync, rmdirSync, unlinkSync } from "node:fs";

import { errorCode } from "../../../base/error-code.ts";
import { FileError } from "../../../contract/file-error.ts";
import type { RemoveRequest } from "../../../contract/file-requests.ts";
import type { RemovedFiles } from "../file-operations.ts";
import { depthMax } from "../limits.ts";
import { childPath, readEntries, statEntry } from "./entries.ts";
import type { Pace } from "./pace.ts";
import { attempt, entryPath, openChildDirectory, type Root } from "./root.ts";

/** A link is removed itself, whatever it leads to. The count holds everything that was below too. */
export async function remove(
  root: Root,
  { path, recursive }: RemoveRequest,
  pace: Pace,
): Promise<RemovedFiles> {
  const parent = root.openParent(path);
  try {
    const found = statEntry(parent.directory, parent.name);
    if (found === null) throw new FileError("ENOENT", { verb: "remove", path });
    if (!found.isDirectory()) {
      attempt("remove", path, () => unlinkSync(entryPath(parent.directory, parent.name)));
      return { deleted: [path], count: 1 };
    }
    const count = recursive
      ? await empty(openInner(parent.directory, parent.name, path), { path, pace, depth: 0 })
      : 0;
    attempt("remove", path, () => rmdirSync(entryPath(parent.directory, parent.name)));
    return { deleted: [path], count: count + 1 };
  } finally {
    closeSync(parent.directory);
  }
}

/** Removes all that is in a directory, and closes it. Resolves with how many there were. */
async function empty(
  directory: number,
  options: { path: string; pace: Pace; depth: number },
): Promise<number> {
  const { path, pace, depth } = options;
  let count = 0;
  try {
    for await (const { name, stats } of readEntries(directory, { path, pace })) {
      const child = childPath(path, name);
      if (stats.isDirectory()) {
        if (depth === depthMax)
          throw new FileError("ENAMETOOLONG", { verb: "remove", path: child });
        const inner = openInner(directory, name, child);
        count += await empty(inner, { path: child, pace, depth: depth + 1 });
        if (removeEntry(() => rmdirSync(entryPath(directory, name)), child)) count += 1;
      } else if (removeEntry(() => unlinkSync(entryPath(directory, name)), child)) {
        count += 1;
      }
    }
    return count;
  } finally {
    closeSync(directory);
  }
}

/** False when somebody else was faster. */
function removeEntry(body: () => void, path: string): boolean {
  try {
    body();
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    return attempt("remove", path, () => {
      throw error;
    });
  }
}

function openInner(directory: number, name: string | Buffer, path: string): number {
  return openChildDirectory(directory, name, { verb: "remove", path });
}
