/** Permissions and owners, of one file or of all below it. */
import { chmodSync, chownSync, closeSync, fstatSync, lchownSync, type Stats } from "node:fs";

import { FileError } from "../../../contract/file-error.ts";
import type { ChangeModeRequest, ChangeOwnerRequest } from "../../../contract/file-requests.ts";
import type { ChangedModes, ChangedOwners } from "../file-operations.ts";
import { answerPathsMax, depthMax } from "../limits.ts";
import { childPath, formatMode, readEntries } from "./entries.ts";
import type { Pace } from "./pace.ts";
import {
  attempt,
  descriptorPath,
  entryPath,
  openChildDirectory,
  reopen,
  refuseKernelFiles,
  using,
  type Root,
} from "./root.ts";
import { openBits } from "../../../host/file-calls.ts";
import { openSync, constants } from "node:fs";

interface Target {
  path: string;
  /** What the kernel follows to the file itself. */
  place: string | Buffer;
  stats: Stats;
}

/** Links below the path stay as they are: they have no permissions of their own. */
export async function changeMode(
  root: Root,
  { path, mode, recursive }: ChangeModeRequest,
  pace: Pace,
): Promise<ChangedModes> {
  const text = formatMode(mode);
  const affected: Array<{ path: string; mode: string }> = [];
  const count = await forEach(root, { path, recursive, pace, verb: "chmod" }, (target) => {
    if (target.stats.isSymbolicLink()) return false;
    attempt("chmod", target.path, () => chmodSync(target.place, mode));
    if (affected.length < answerPathsMax) affected.push({ path: target.path, mode: text });
    return true;
  });
  return { affected, count };
}

export async function changeOwner(
  root: Root,
  { path, uid, gid, recursive }: ChangeOwnerRequest,
  pace: Pace,
): Promise<ChangedOwners> {
  const { owners } = root;
  const wantedUid = uid === null ? null : owners.idOf(uid, "/etc/passwd", path);
  const wantedGid = gid === null ? null : owners.idOf(gid, "/etc/group", path);
  const affected: Array<{ path: string; uid: number; gid: number }> = [];
  const count = await forEach(root, { path, recursive, pace, verb: "chown" }, (target) => {
    const found = owners.fromHost(target.stats);
    const owner = { uid: wantedUid ?? found.uid, gid: wantedGid ?? found.gid };
    const change = target.stats.isSymbolicLink() ? lchownSync : chownSync;
    attempt("chown", target.path, () => change(target.place, ...owners.onHost(owner)));
    if (affected.length < answerPathsMax) affected.push({ path: target.path, ...owner });
    return true;
  });
  return { affected, count };
}

type Change = (target: Target) => boolean;

/** Directories come after what is in them. Resolves with how many of all were changed. */
async function forEach(
  root: Root,
  options: { path: string; recursive: boolean; pace: Pace; verb: string },
  change: Change,
): Promise<number> {
  const { path, recursive } = options;
  const top = root.withNode(path, (node) => ({ node: reopen(node, openBits.path) }));
  return await usingLater(top.node, async (node) => {
    const stats = fstatSync(node);
    let count = 0;
    if (recursive && stats.isDirectory()) {
      const directory = reopen(node, constants.O_RDONLY | constants.O_DIRECTORY);
      count += await below(directory, { ...options, depth: 0 }, change);
    }
    return count + Number(change({ path, place: descriptorPath(node), stats }));
  });
}

async function below(
  directory: number,
  options: { path: string; pace: Pace; verb: string; depth: number },
  change: Change,
): Promise<number> {
  const { path, pace, verb, depth } = options;
  let count = 0;
  try {
    for await (const { name, stats } of readEntries(directory, { path, pace })) {
      const child = childPath(path, name);
      if (stats.isDirectory()) {
        if (depth === depthMax) throw new FileError("ENAMETOOLONG", { verb, path: child });
        const inner = openChildDirectory(directory, name, { verb, path: child });
        count += await below(inner, { ...options, path: child, depth: depth + 1 }, change);
      }
      count += Number(changeEntry(directory, name, { verb, path: child }, change));
    }
    return count;
  } finally {
    closeSync(directory);
  }
}

/** Held by a descriptor first, so that a link put in its place meanwhile is not followed. */
function changeEntry(
  directory: number,
  name: Buffer,
  { verb, path }: { verb: string; path: string },
  change: Change,
): boolean {
  const flags = openBits.path | constants.O_NOFOLLOW;
  const node = attempt(verb, path, () => openSync(entryPath(directory, name), flags));
  return using(node, () => {
    refuseKernelFiles(node, path);
    const stats = fstatSync(node);
    // The descriptor of a link names the link; its path is the only way to change its owner.
    const isLink = stats.isSymbolicLink();
    return change({
      path,
      place: isLink ? entryPath(directory, name) : descriptorPath(node),
      stats,
    });
  });
}

async function usingLater<T>(
  descriptor: number,
  body: (descriptor: number) => Promise<T>,
): Promise<T> {
  try {
    return await body(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
