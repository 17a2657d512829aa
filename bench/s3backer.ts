/** The peer for a disk in a bucket: Debian's s3backer with a directory as its store, a loop device and ext4 on top. */
import { spawn } from "node:child_process";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import type { Cleanup } from "./cleanup.ts";
import { ChrootPlace, mount } from "./place.ts";

const blockSizeBytes = 4096;
const sizeMegabytes = 512;
/** Its test mode waits at random before each block it stores, so only what its cache answers is worth comparing. */
export const s3backerFileMegabytes = 48;
export const s3backerNote =
  "s3backer --test (a directory as the bucket) delays each block it stores, " +
  "which its cache hides until it is full";

export async function mountS3backer(options: {
  directory: string;
  imageMount: string;
  cleanup: Cleanup;
}): Promise<ChrootPlace> {
  const { directory, imageMount, cleanup } = options;
  const [store, view, files] = ["store", "view", "files"].map((name) => join(directory, name));
  if (store === undefined || view === undefined || files === undefined) throw new Error("paths");
  await Promise.all([store, view, files].map((path) => mkdir(path, { recursive: true })));
  const cacheBlocks = (sizeMegabytes * 1024 * 1024) / blockSizeBytes;
  const child = spawn(
    "s3backer",
    [
      ...["--test", "-f", "--listBlocks", "--quiet", `--size=${sizeMegabytes}m`],
      ...[`--blockSize=${blockSizeBytes}`, `--blockCacheSize=${cacheBlocks}`],
      ...[`--blockCacheFile=${join(directory, "cache")}`, "-o", "big_writes", store, view],
    ],
    { stdio: "ignore" },
  );
  cleanup.add("end s3backer", async () => {
    // Killed, because it would write for minutes what nobody reads again.
    child.kill("SIGKILL");
    await runCommand("umount", ["--lazy", view], { deadlineMs: 10_000 });
  });
  const file = join(view, "file");
  const isThere = (): Promise<boolean> =>
    stat(file).then(
      () => true,
      () => false,
    );
  if (!(await waitUntil(isThere, { timeoutMs: 5_000 }))) throw new Error("s3backer did not mount");

  const { stdout } = await runCommand(
    "losetup",
    [...["--find", "--show", "--direct-io=on"], ...["--sector-size", "4096", file]],
    { deadlineMs: 10_000 },
  );
  const device = stdout.trim();
  cleanup.add(`detach ${device}`, async () => {
    await runCommand("losetup", ["--detach", device], { deadlineMs: 10_000 });
  });
  const mkfsOptions = ["-q", "-E", "nodiscard,lazy_itable_init=1", device];
  await runCommand("mkfs.ext4", mkfsOptions, { deadlineMs: 60_000 });
  await mount([device, files], { at: files, cleanup });
  return await ChrootPlace.mount({ name: "s3backer", imageMount, directory: files, cleanup });
}
