import { open, stat, type FileHandle } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import { lockRetryDelayMsMax, lockRetryDelayMsMin, lockWaitMsMax } from "./limits.ts";
import { isMissing } from "./store-error.ts";

/**
 * A lock between processes: flock(2) on the directory itself.
 *
 * The kernel ties the lock to the open file description and drops it when the last descriptor is
 * closed, by whatever means the process ends. So a killed holder never leaves a stuck lock, there
 * is no lock file that would have to be told from a live one, and nothing lies in the bucket. A
 * holder in the same process has a description of its own and is kept out as well. Node opens with
 * O_CLOEXEC, so no child keeps the lock. (A scheme of hard links alone also works, but it has to
 * keep old versions to stop a slow writer from claiming a number that was used and cleaned up, and
 * readers have to list to find the newest.)
 */

const lockExclusive = 2;
const lockNonBlocking = 4;
const wouldBlock = 11;
const interrupted = 4;

interface Flock {
  call: (descriptor: number, operation: number) => number;
  errno: () => number;
}
let flock: Flock | null = null;

/** Loaded on first use: only writers need it. */
async function loadFlock(): Promise<Flock> {
  if (flock === null) {
    const { default: koffi } = await import("koffi");
    const native = koffi.load("libc.so.6").func("int flock(int fd, int operation)");
    flock = {
      call: (descriptor, operation) => Number(native(descriptor, operation)),
      errno: () => koffi.errno(),
    };
  }
  return flock;
}

/**
 * Opens and locks the directory; closing the handle unlocks it. Null when the directory is not there, or was
 * replaced while we waited: a lock on a deleted directory would keep nobody out.
 * @throws SpriteError unavailable when others hold it for too long
 */
export async function lockDirectory(
  path: string,
  signal?: AbortSignal,
): Promise<FileHandle | null> {
  const directory = await open(path, "r").catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (directory === null) return null;
  try {
    await waitForLock(directory, path, signal);
    if (await isStillAt(directory, path)) return directory;
  } catch (error) {
    await directory.close();
    throw error;
  }
  await directory.close();
  return null;
}

async function waitForLock(
  directory: FileHandle,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { call, errno } = await loadFlock();
  const deadlineMs = performance.now() + lockWaitMsMax;
  while (call(directory.fd, lockExclusive | lockNonBlocking) !== 0) {
    const code = errno();
    if (code !== wouldBlock && code !== interrupted) {
      throw new SpriteError("storage_failure", `lock directory ${path}: flock gave errno ${code}`);
    }
    if (performance.now() > deadlineMs) {
      throw new SpriteError("unavailable", `lock directory ${path}: held by others for too long`);
    }
    // Jitter keeps waiting processes from asking in step.
    const range = lockRetryDelayMsMax - lockRetryDelayMsMin;
    await delay(lockRetryDelayMsMin + Math.random() * range, undefined, signal ? { signal } : {});
  }
}

async function isStillAt(directory: FileHandle, path: string): Promise<boolean> {
  try {
    const [held, named] = await Promise.all([directory.stat(), stat(path)]);
    return held.ino === named.ino && held.dev === named.dev;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
