import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "../base/error-code.ts";
import { identifyProcess, isAlive, type ProcessIdentity } from "../base/process-identity.ts";
import { must } from "../base/assert.ts";
import { SpriteError } from "../contract/errors.ts";

/**
 * Keeps a second server away from a data directory that is in use. A killed server's lock counts
 * for nothing: it names a process by number and start time, and that process is gone.
 * @throws SpriteError conflict when another server has it
 */
export async function takeServerLock(
  runDirectory: string,
): Promise<{ release: () => Promise<void> }> {
  const file = `${runDirectory}.lock`;
  await mkdir(join(runDirectory, ".."), { recursive: true });
  const mine = must(identifyProcess(process.pid), "this process exists");
  // Create-only, so that of two servers starting at once just one gets it; a stale lock is removed
  // and the race run again.
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      await writeFile(file, JSON.stringify(mine), { flag: "wx", mode: 0o600 });
      return { release: () => rm(file, { force: true }) };
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
    const holder = await readHolder(file);
    if (holder !== null && isAlive(holder)) {
      const message = `another server (process ${holder.pid}) uses this data directory`;
      throw new SpriteError("conflict", message);
    }
    await rm(file, { force: true });
  }
  throw new SpriteError("conflict", "another server is starting on this data directory");
}

async function readHolder(file: string): Promise<ProcessIdentity | null> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as ProcessIdentity;
  } catch {
    return null;
  }
}
