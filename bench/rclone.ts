/** The peer for files in a bucket: Debian's `rclone mount` with its full cache on the same store, as the home of the same image. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { waitUntil } from "../src/base/wait.ts";
import { plainEnvironment, runCommand } from "../src/host/command.ts";
import type { Cleanup } from "./cleanup.ts";
import { ChrootPlace } from "./place.ts";
import type { MountedPeer } from "./s3backer.ts";
import type { BenchStore } from "./store.ts";

const mountTimeoutMs = 10_000;
const endTimeoutMs = 20_000;
/** The sprite's user in the images. */
const userId = 1000;

export const rcloneNote =
  "rclone mount --vfs-cache-mode full: a file is an object and is stored whole, a second after it is closed; " +
  "its fsync reaches its cache's page cache at most";

export async function startRclone(options: {
  store: BenchStore;
  prefix: string;
  directory: string;
  cleanup: Cleanup;
}): Promise<MountedPeer> {
  const { store, prefix, directory, cleanup } = options;
  const view = join(directory, "view");
  await mkdir(view, { recursive: true });
  const child = spawn(
    "rclone",
    [
      ...["mount", `:s3:${store.bucket}/${prefix}`, view, "--vfs-cache-mode", "full"],
      ...["--cache-dir", join(directory, "cache"), "--vfs-write-back", "1s"],
      ...["--vfs-read-ahead", "16M", "--allow-other", "--uid", `${userId}`, "--gid", `${userId}`],
    ],
    {
      stdio: "ignore",
      env: {
        ...plainEnvironment,
        RCLONE_CONFIG: "/dev/null",
        RCLONE_S3_PROVIDER: "Ceph",
        RCLONE_S3_ENDPOINT: store.proxy.endpoint,
        RCLONE_S3_ACCESS_KEY_ID: store.accessKey,
        RCLONE_S3_SECRET_ACCESS_KEY: store.secretKey,
        RCLONE_S3_NO_CHECK_BUCKET: "true",
      },
    },
  );
  cleanup.add("end rclone", async () => {
    child.kill("SIGKILL");
    await runCommand("umount", ["--lazy", view], { deadlineMs: 10_000 }).catch(() => undefined);
  });
  const isMounted = async (): Promise<boolean> =>
    (await readFile("/proc/self/mounts", "utf8")).includes(` ${view} fuse.rclone`);
  if (!(await waitUntil(isMounted, { timeoutMs: mountTimeoutMs }))) {
    throw new Error("rclone did not mount");
  }
  return {
    ...{ pid: child.pid ?? 0, directory: view },
    end: async () => {
      const exited = once(child, "exit", { signal: AbortSignal.timeout(endTimeoutMs) });
      child.kill("SIGTERM");
      await exited;
    },
  };
}

export async function mountRclone(options: {
  store: BenchStore;
  directory: string;
  imageMount: string;
  cleanup: Cleanup;
}): Promise<{ place: ChrootPlace; pid: number }> {
  const { directory, imageMount, cleanup } = options;
  const peer = await startRclone({ ...options, prefix: "rclone" });
  const place = await ChrootPlace.mount({
    ...{ name: "rclone", imageMount, directory: join(directory, "root"), cleanup },
    home: peer.directory,
  });
  return { place, pid: peer.pid };
}
