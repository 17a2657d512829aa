/** What this room does with local files in more than one place. */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { open, rename, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";

/** Makes a directory's entries durable: a file that was made or renamed there is found after a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** The same for code that must not let anybody in between. */
export function syncDirectoryNow(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Fills the buffer from the file; returns how much of it, which is less only where the file ends. */
export async function readUpTo(file: FileHandle, into: Buffer, at: number): Promise<number> {
  let filled = 0;
  while (filled < into.length) {
    const rest = into.length - filled;
    const { bytesRead } = await file.read(into, filled, rest, at + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** Replaces a small file: after a crash it is the old one or the new one, whole. */
export async function replaceFile(path: string, content: string): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  await syncDirectory(dirname(path));
}
