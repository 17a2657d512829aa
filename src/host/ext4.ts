/** ext4 as every guest disk has it. */
import { HostError, runCommand } from "./command.ts";
import { checkMsMax, formatMsMax } from "./limits.ts";

/**
 * A journal of this size is written around in a ring: it is what the disk costs in the bucket
 * before any file.
 */
const journalSizeMiB = 64;

/** Formats a device whose blocks all read as zeros. */
export async function formatExt4(device: string, options: { label: string }): Promise<void> {
  const extended = [
    // The device reads as zeros already, so neither inode tables nor journal need to be written now
    // or by the kernel later.
    "lazy_itable_init=1",
    "lazy_journal_init=1",
    "assume_storage_prezeroed=1",
    "nodiscard",
    // All bitmaps and tables at the start, in one place, and one spare superblock instead of a
    // dozen all over the disk: an empty disk of 100 GB is then a few hundred KiB in a handful of
    // runs (with mkfs's own choices, 5 MiB in 69).
    "packed_meta_blocks=1",
    "num_backup_sb=1",
  ];
  const args = ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-e", "remount-ro"];
  args.push("-O", "^resize_inode,sparse_super2", "-J", `size=${journalSizeMiB}`);
  args.push("-E", extended.join(","), "-L", options.label);
  await runCommand("mkfs.ext4", [...args, device], { deadlineMs: formatMsMax });
}

/**
 * Replays the journal and puts right what needs no decision (e2fsck -p), without a mount.
 * @throws HostError exit_status: more is wrong with it
 */
export async function prepareExt4(file: string): Promise<void> {
  try {
    await runCommand("e2fsck", ["-f", "-p", file], { deadlineMs: checkMsMax });
  } catch (error) {
    // e2fsck(8): 1 is corrected, 2 corrected and to be mounted anew.
    const isCorrected = error instanceof HostError && [1, 2].includes(error.exitCode ?? -1);
    if (!isCorrected) throw error;
  }
}

/** Looks at everything and writes nothing. @throws HostError exit_status: something is wrong with it */
export async function checkExt4(file: string): Promise<void> {
  await runCommand("e2fsck", ["-f", "-n", file], { deadlineMs: checkMsMax });
}
