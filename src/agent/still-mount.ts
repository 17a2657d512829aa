/** Looking at a disk that nobody writes to: a checkpoint's, or that of a sprite that sleeps. */
import { stat } from "node:fs/promises";
import { mountBackingFile } from "../host/block-mount.ts";
import type { HostHelper } from "../host/host-helper.ts";
import { parseSuperblock, superblockProblem } from "./ext4-superblock.ts";
import { readSuperblock } from "./file-system-check.ts";

export interface StillMount {
  backingFile: string;
  target: string;
  /** Also one that the kernel has seen inconsistent, for what can still be read of it. */
  toleratesErrors: boolean;
}

/**
 * Mounts it read-only and without its journal, since a read-only device could not replay one. So the journal must be empty, as a
 * freeze or an unmount leaves it: with anything in it, what the guest wrote last would be missing from what is seen.
 * @param refusal makes the error of a file system that is not at rest, from the reason
 */
export async function mountStill(
  helper: HostHelper,
  { backingFile, target, toleratesErrors }: StillMount,
  refusal: (reason: string) => Error,
): Promise<void> {
  const problem = await unrest(backingFile, toleratesErrors);
  if (problem !== null) throw refusal(problem);
  const mounted = {
    backingFile,
    target,
    readOnly: true,
    fileSystem: "ext4",
    data: "noload",
  } as const;
  await mountBackingFile(helper, mounted);
}

/** Null when all that was written is in its place. */
async function unrest(path: string, toleratesErrors: boolean): Promise<string | null> {
  const superblock = await readSuperblock(path);
  if (superblock === null) return "its superblock cannot be read";
  const problem = superblockProblem(superblock, (await stat(path)).size);
  if (problem !== null) return problem;
  const { needsRecovery, hasErrors } = parseSuperblock(superblock);
  if (needsRecovery) return "its file system was not at rest";
  return hasErrors && !toleratesErrors ? "its file system has errors" : null;
}
