/**
 * The process that looks at an imported disk before any kernel mounts it, started by
 * imported-disk.ts in a mount namespace of its own: the volume by FUSE, and e2fsck on its files. Its
 * standard input is one JSON text, and so is its output.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { HostError } from "../host/command.ts";
import { checkExt4, prepareExt4 } from "../host/ext4.ts";
import { openVolume } from "../storage/volume/open-volume.ts";

type Volume = Awaited<ReturnType<typeof openVolume>>;

export interface DiskCheckStartup {
  volume: Parameters<typeof openVolume>[0];
  /** An empty directory that goes when the process has ended. */
  directory: string;
}

export interface DiskCheckResult {
  /** Why a kernel had better not mount it; null when it may. */
  problem: string | null;
}

const startup = JSON.parse(await text(process.stdin)) as DiskCheckStartup;
const volume = await openVolume(startup.volume);
let result: DiskCheckResult;
try {
  result = { problem: await problemOf(volume, join(startup.directory, "fuse")) };
  // Also what was written: a journal that was replayed.
  await volume.close({ discard: result.problem !== null });
} catch (error) {
  await volume.close({ discard: true }).catch(() => undefined);
  throw error;
}
process.stdout.write(JSON.stringify(result));
process.exit(0);

async function problemOf(of: Volume, fuseDirectory: string): Promise<string | null> {
  await mkdir(fuseDirectory, { recursive: true });
  await of.mount(fuseDirectory);
  // One that was never formatted is formatted by its first start.
  if (of.formatted && !(await passes(() => prepareExt4(join(fuseDirectory, "live"))))) {
    return "the disk's file system is damaged";
  }
  for (const { id } of await of.listCheckpoints()) {
    await of.showCheckpoint(id);
    const isSound = await passes(() => checkExt4(join(fuseDirectory, id)));
    await of.hideCheckpoint(id);
    if (!isSound) return `the file system of checkpoint ${id} is damaged`;
  }
  return null;
}

/** @throws HostError: there is no telling */
async function passes(check: () => Promise<void>): Promise<boolean> {
  try {
    await check();
    return true;
  } catch (error) {
    if (error instanceof HostError && ["exit_status", "output_too_large"].includes(error.code)) {
      return false;
    }
    throw error;
  }
}
