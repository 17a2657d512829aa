/** The peer for a disk in a bucket: Debian's s3backer on the same store, a loop device and ext4 on top. */
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import type { Cleanup } from "./cleanup.ts";
import { ChrootPlace, mount } from "./place.ts";
import type { BenchStore } from "./store.ts";

/** Its default of 4 KiB would make a request of each of them; ours are of 64 KiB or more. */
const blockSizeKib = 128;
const sizeMegabytes = 512;
const mountTimeoutMs = 10_000;
const endTimeoutMs = 20_000;

export const s3backerNote =
  `blocks of ${blockSizeKib} KiB, a cache as large as the disk, 4 MiB read ahead; ` +
  "its fsync waits neither for its cache file nor for the bucket";

export interface MountedPeer {
  pid: number;
  /** Of the mount. */
  directory: string;
  /** Ends it in order, so that everything is in the bucket. */
  end(): Promise<void>;
}

/** One file, as large as the disk, at `<directory>/view/file`. */
export async function startS3backer(options: {
  store: BenchStore;
  prefix: string;
  directory: string;
  cleanup: Cleanup;
}): Promise<MountedPeer> {
  const { store, prefix, directory, cleanup } = options;
  const view = join(directory, "view");
  await mkdir(view, { recursive: true });
  const child = spawn(
    "s3backer",
    [
      ...["-f", "--listBlocks", "--quiet", `--size=${sizeMegabytes}m`, "-o", "big_writes"],
      ...[
        `--blockSize=${blockSizeKib}k`,
        `--blockCacheSize=${(sizeMegabytes * 1024) / blockSizeKib}`,
      ],
      ...[`--blockCacheFile=${join(directory, "cache")}`],
      ...[`--readAhead=${4096 / blockSizeKib}`, `--prefix=${prefix}/`],
      ...[`--accessId=${store.accessKey}`, `--accessKey=${store.secretKey}`],
      ...[`--baseURL=${store.proxy.endpoint}/`, store.bucket, view],
    ],
    { stdio: "ignore" },
  );
  cleanup.add("end s3backer", async () => {
    // Killed, because it would write for a while what nobody reads again.
    child.kill("SIGKILL");
    await runCommand("umount", ["--lazy", view], { deadlineMs: 10_000 }).catch(() => undefined);
  });
  await waitForFile(join(view, "file"), "s3backer did not mount");
  return {
    ...{ pid: child.pid ?? 0, directory: view },
    end: async () => {
      const exited = once(child, "exit", { signal: AbortSignal.timeout(endTimeoutMs) });
      await runCommand("umount", [view], { deadlineMs: endTimeoutMs });
      await exited;
    },
  };
}

export async function mountS3backer(options: {
  store: BenchStore;
  directory: string;
  imageMount: string;
  cleanup: Cleanup;
}): Promise<{ place: ChrootPlace; pid: number }> {
  const { directory, imageMount, cleanup } = options;
  const files = join(directory, "files");
  await mkdir(files, { recursive: true });
  const peer = await startS3backer({ ...options, prefix: "s3backer" });
  const losetup = ["--find", "--show", "--direct-io=on", "--sector-size", "4096"];
  const file = join(peer.directory, "file");
  const { stdout } = await runCommand("losetup", [...losetup, file], { deadlineMs: 10_000 });
  const device = stdout.trim();
  cleanup.add(`detach ${device}`, async () => {
    await runCommand("losetup", ["--detach", device], { deadlineMs: 10_000 });
  });
  const mkfsOptions = ["-q", "-E", "nodiscard,lazy_itable_init=1", device];
  await runCommand("mkfs.ext4", mkfsOptions, { deadlineMs: 60_000 });
  await mount([device, files], { at: files, cleanup });
  const place = await ChrootPlace.mount({
    ...{ name: "s3backer", imageMount, directory: files, cleanup },
  });
  return { place, pid: peer.pid };
}

async function waitForFile(path: string, failure: string): Promise<void> {
  const isThere = (): Promise<boolean> =>
    stat(path).then(
      () => true,
      () => false,
    );
  if (!(await waitUntil(isThere, { timeoutMs: mountTimeoutMs }))) throw new Error(failure);
}
