/** Whether a file or device holds a file system that can be mounted, and putting one right. */
import { stat } from "node:fs/promises";
import { HostError, runCommand } from "../host/command.ts";
import {
  parseSuperblock,
  superblockOffsetBytes,
  superblockProblem,
  superblockSizeBytes,
} from "./ext4-superblock.ts";
import { fullCheckMsMax, quickCheckMsMax, safeRepairMsMax, thoroughRepairMsMax } from "./limits.ts";

/**
 * Looks without writing: at the superblock, at what e2fsck makes of superblock, group descriptors and
 * journal, and, as far as its time allows, at everything. Null when nothing is wrong. All of it
 * happens in children, since a read may wait for the bucket.
 */
export async function fileSystemProblem(path: string): Promise<string | null> {
  // At once, since the restore waits for both; a check of everything is a check of the outermost too.
  const [superblock, full] = await Promise.all([
    readSuperblock(path),
    runCheck(path, ["-f", "-n"], fullCheckMsMax),
  ]);
  if (superblock === null) return "its superblock cannot be read";
  const problem = superblockProblem(superblock, (await stat(path)).size);
  // e2fsck without the right to write cannot replay a journal, and calls that damage.
  if (problem !== null || parseSuperblock(superblock).needsRecovery) return problem;
  if (full !== "unfinished") return full;
  // A large disk far away: that its outermost structures are sound has to do.
  const quick = await runCheck(path, ["-n"], quickCheckMsMax);
  return quick === "unfinished" ? "checking its file system takes too long" : quick;
}

/** A child that hangs in a read is left behind; a read of ours would hold one of Node's four threads. */
export async function readSuperblock(path: string): Promise<Buffer | null> {
  const script = 'head -c "$2" -- "$1" | base64 -w 0';
  const lengthBytes = superblockOffsetBytes + superblockSizeBytes;
  try {
    const { stdout } = await runCommand("sh", ["-c", script, "sh", path, `${lengthBytes}`], {
      deadlineMs: quickCheckMsMax,
    });
    return Buffer.from(stdout, "base64").subarray(superblockOffsetBytes);
  } catch (error) {
    if (error instanceof HostError) return null;
    throw error;
  }
}

/** What e2fsck says when it looks and does not write: null is nothing. */
async function runCheck(
  path: string,
  options: readonly string[],
  deadlineMs: number,
): Promise<string | null> {
  try {
    const said = await runE2fsck([...options, path], deadlineMs);
    // Of some damage, such as a descriptor's wrong checksum, it makes a question and no exit status.
    return /\? no$/m.test(said) ? "its file system is damaged" : null;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    if (error.code === "deadline_exceeded") return "unfinished";
    // Too much to say of it is damage too.
    if (error.code !== "exit_status" && error.code !== "output_too_large") throw error;
    return saysUnreadable(error) ? "its file system cannot be read" : "its file system is damaged";
  }
}

/** Resolves with all that it says; its questions go to its standard output, which an error does not keep. */
async function runE2fsck(args: readonly string[], deadlineMs: number): Promise<string> {
  const script = 'exec e2fsck "$@" >&2';
  return (await runCommand("sh", ["-c", script, "e2fsck", ...args], { deadlineMs })).stderr;
}

function saysUnreadable({ stderr }: HostError): boolean {
  return /Input\/output error|Error reading block|short read|while reading/i.test(stderr);
}

export type Repair = "safe" | "thorough";

/**
 * Lets e2fsck write: `safe` does only what loses nothing (-p), `thorough` answers every question with
 * yes (-y), which may lose files. The caller has kept the state before.
 * @throws HostError: it is not right yet, and may have been changed
 */
export async function repairFileSystem(device: string, repair: Repair): Promise<void> {
  const deadlineMs = deadlineOf(repair);
  try {
    // -f: a superblock that calls itself clean is no proof, when the mount has just failed.
    await runE2fsck(["-f", repair === "safe" ? "-p" : "-y", device], deadlineMs);
  } catch (error) {
    // e2fsck(8): 1 is corrected, 2 corrected and to be mounted anew, which it is.
    const isCorrected = error instanceof HostError && [1, 2].includes(error.exitCode ?? -1);
    if (!isCorrected) throw error;
  }
}

/** `hopeless`: this repair would not even begin. `unreadable`: it must not. */
export type Outlook = "promising" | "hopeless" | "unreadable";

/**
 * Reads what a repair would have to read. What cannot be read now may be there in an hour, when the
 * bucket is; e2fsck would take it for lost and write over it.
 * @throws HostError when there is no e2fsck
 */
export async function repairOutlook(
  device: { path: string; sizeBytes: number },
  repair: Repair,
): Promise<Outlook> {
  const superblock = await readSuperblock(device.path);
  if (superblock === null) return "unreadable";
  // -p takes no spare superblock, and looking at all of a large disk by one takes long.
  const problem = superblockProblem(superblock, device.sizeBytes);
  if (repair === "safe" && problem !== null) return "hopeless";
  try {
    await runE2fsck(["-f", "-n", device.path], deadlineOf(repair));
    return "promising";
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    if (error.code === "deadline_exceeded") return "hopeless";
    if (error.code !== "exit_status" && error.code !== "output_too_large") throw error;
    return saysUnreadable(error) ? "unreadable" : "promising";
  }
}

function deadlineOf(repair: Repair): number {
  return repair === "safe" ? safeRepairMsMax : thoroughRepairMsMax;
}
