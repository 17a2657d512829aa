import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "../../src/base/log.ts";
import { runCommand } from "../../src/host/command.ts";
import { createHostHelper } from "../../src/host/host-helper.ts";
import { openVolume } from "../../src/storage/volume/open-volume.ts";

/** Opens a stopped sprite's disk from the bucket alone and runs a full `e2fsck -fn` on it. @throws when it is not clean */
export async function checkFileSystem(options: {
  dataDirectory: string;
  spriteId: string;
  /** Where it is not the directory that a server makes in its data directory. */
  bucket?: string;
}): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), "opensprites-fsck-"));
  const helper = createHostHelper(createLog({ level: "error", room: "test" }));
  const volume = await openVolume({
    bucket: options.bucket ?? join(options.dataDirectory, "bucket"),
    prefix: `sprites/${options.spriteId}`,
    cacheDirectory: join(scratch, "cache"),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 0,
    readOnly: true,
    syncIntervalMs: 0,
  });
  try {
    const directory = join(scratch, "fuse");
    await runCommand("mkdir", [directory], { deadlineMs: 5_000 });
    await volume.mount(directory);
    const backingFile = join(directory, "live");
    const device = await helper.attachLoop({ backingFile, readOnly: true });
    try {
      await runCommand("e2fsck", ["-fn", device], { deadlineMs: 60_000 });
    } finally {
      await helper.releaseLoop(device);
    }
  } finally {
    await helper.close();
    await volume.close({ discard: true });
    await rm(scratch, { recursive: true, force: true });
  }
}
