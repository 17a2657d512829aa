import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { identifyProcess, isAlive, type ProcessIdentity } from "../base/process-identity.ts";
import { must } from "../base/assert.ts";
import { SpriteError } from "../contract/errors.ts";
import { serverLockWaitMs } from "./limits.ts";

/** Lasts until it is closed, or the process ends. */
export interface DirectoryLock {
  close(): Promise<void>;
}

/**
 * Keeps a second server away from a data directory that is in use, by whatever path it names it:
 * the kernel locks the directory itself and unlocks it when the process ends, however it ends. The
 * file beside the run directory only tells people who holds it.
 * @throws SpriteError conflict when another server has it
 */
export async function takeServerLock(options: {
  dataDirectory: string;
  runDirectory: string;
  /** Null when the directory was replaced meanwhile. */
  lockDirectory: (path: string, signal: AbortSignal) => Promise<DirectoryLock | null>;
}): Promise<{ release: () => Promise<void> }> {
  const { dataDirectory, runDirectory, lockDirectory } = options;
  const file = `${runDirectory}.lock`;
  const signal = AbortSignal.timeout(serverLockWaitMs);
  const directory = await lockDirectory(dataDirectory, signal).catch(async (cause: unknown) => {
    if (!signal.aborted) throw cause;
    const holder = await readHolder(file);
    const who = holder !== null && isAlive(holder) ? ` (process ${holder.pid})` : "";
    throw new SpriteError("conflict", `another server${who} uses this data directory`, { cause });
  });
  if (directory === null) {
    throw new SpriteError("conflict", `${dataDirectory} was replaced while the server started`);
  }
  await mkdir(dirname(file), { recursive: true });
  const mine = must(identifyProcess(process.pid), "this process exists");
  await writeFile(file, JSON.stringify(mine), { mode: 0o600 });
  const release = async (): Promise<void> => {
    await rm(file, { force: true });
    await directory.close();
  };
  return { release };
}

/** The server of a data directory, if one runs. */
export async function serverOf(runDirectory: string): Promise<ProcessIdentity | null> {
  const holder = await readHolder(`${runDirectory}.lock`);
  return holder !== null && isAlive(holder) ? holder : null;
}

async function readHolder(file: string): Promise<ProcessIdentity | null> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as ProcessIdentity;
  } catch {
    return null;
  }
}
