/** Files that hold keys: whole or not there, and nobody else's to read. */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { errorCode } from "../../base/error-code.ts";

const draftSuffix = ".draft";

/** Null when there is no such file. */
export async function readSecretFile(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    throw error;
  }
}

/** Replaces the file; a crash leaves the old one or the new one. */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  const draft = await writeDraft(path, text);
  await rename(draft, path);
  await syncDirectory(dirname(path));
}

/** Makes the file unless somebody else did first; what it holds then. */
export async function createSecretFile(path: string, text: string): Promise<string> {
  const draft = await writeDraft(path, text);
  try {
    await link(draft, path);
    await syncDirectory(dirname(path));
    return text;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    return await readFile(path, "utf8");
  } finally {
    await rm(draft, { force: true });
  }
}

/** Removes what a crash left half written. Only the server does so, which alone writes then. */
export async function removeDrafts(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  const drafts = names.filter((name) => name.endsWith(draftSuffix));
  await Promise.all(drafts.map((name) => rm(join(directory, name), { force: true })));
}

async function writeDraft(path: string, text: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const id = randomBytes(6).toString("hex");
  const draft = join(dirname(path), `${basename(path)}.${id}${draftSuffix}`);
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  return draft;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
