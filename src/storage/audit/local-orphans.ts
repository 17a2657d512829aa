/** Local state that was set aside, since it must not be used: for an operator to look at, and to remove. */
import type { Dirent } from "node:fs";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "../object-store/store-error.ts";

export interface LocalOrphan {
  path: string;
  /** Below the cache: `sprites/<id>` or `images/<sha256>`. */
  volume: string;
  setAsideAtMs: number;
  /** What it takes of the local disk. */
  sizeBytes: number;
  /** Why it was set aside; null when nobody noted it. */
  reason: string | null;
}

const orphanPrefix = "orphan-";

/** Oldest first. A cache that is not there has none. */
export async function listOrphans(cacheDirectory: string): Promise<LocalOrphan[]> {
  const orphans: LocalOrphan[] = [];
  for (const root of ["sprites", "images"]) {
    for (const volume of await entriesOf(join(cacheDirectory, root))) {
      const directory = join(cacheDirectory, root, volume.name);
      for (const { name } of await entriesOf(directory)) {
        if (!name.startsWith(orphanPrefix)) continue;
        orphans.push(await describe(join(directory, name), `${root}/${volume.name}`));
      }
    }
  }
  return orphans.toSorted((one, other) => one.setAsideAtMs - other.setAsideAtMs);
}

async function describe(path: string, volume: string): Promise<LocalOrphan> {
  const setAsideAtMs = (await lstat(path)).mtimeMs;
  const sizeBytes = await sizeOf(path);
  return { path, volume, setAsideAtMs, sizeBytes, reason: await reasonOf(path) };
}

async function reasonOf(path: string): Promise<string | null> {
  try {
    const note: unknown = JSON.parse(await readFile(join(path, "orphan.json"), "utf8"));
    const reason = (note as { reason?: unknown } | null)?.reason;
    return typeof reason === "string" ? reason : null;
  } catch {
    // A note is a courtesy: without one the orphan is listed all the same.
    return null;
  }
}

async function sizeOf(path: string): Promise<number> {
  let sizeBytes = 0;
  for (const entry of await entriesOf(path)) {
    const inner = join(path, entry.name);
    // Blocks of 512 bytes: the cache file is sparse.
    if (entry.isDirectory()) sizeBytes += await sizeOf(inner);
    else sizeBytes += ((await lstat(inner)).blocks ?? 0) * 512;
  }
  return sizeBytes;
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return [];
    throw error;
  }
}
