/** Disks as an archive may bring them, looked at before any kernel mounts them. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { runCommand } from "../host/command.ts";
import { formatExt4 } from "../host/ext4.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import { checkImportedDisk } from "./imported-disk.ts";

const prefix = "sprites/imported";
const deadlineMs = 60_000;

let directory: string;
let opened = 0;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "opensprites-imported-"));
  await mkdir(join(directory, "bucket"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

type Volume = Awaited<ReturnType<typeof openVolume>>;

/** As a machine that has nothing of the volume but the bucket. */
async function withVolume(work: (volume: Volume, live: string) => Promise<void>): Promise<void> {
  const cacheDirectory = join(directory, `cache-${opened}`);
  const fuse = join(directory, `fuse-${opened++}`);
  await mkdir(fuse);
  const volume = await openVolume({
    ...{ bucket: join(directory, "bucket"), prefix, cacheDirectory },
    ...{ cacheSizeBytesMax: 2 ** 30, sizeBytes: 2 ** 28, readOnly: false, syncIntervalMs: 200 },
  });
  try {
    await volume.mount(fuse);
    await work(volume, join(fuse, "live"));
  } finally {
    await volume.close({ discard: false });
  }
}

async function format(volume: Volume, live: string): Promise<void> {
  await formatExt4(live, { label: "sprite" });
  await volume.markFormatted();
}

/** A root directory that is none. */
async function damage(live: string): Promise<void> {
  await runCommand("debugfs", ["-w", "-R", "clri <2>", live], { deadlineMs });
}

async function check(): Promise<void> {
  const bucket = join(directory, "bucket");
  const scratchDirectory = join(directory, "scratch");
  await checkImportedDisk({ bucket, prefix, serverId: "server", scratchDirectory });
}

test("a sound disk with a checkpoint passes, and so does one that was never formatted", async () => {
  await withVolume(() => Promise.resolve());
  await check();
  await withVolume(async (volume, live) => {
    await format(volume, live);
    const { completed } = await volume.beginCheckpoint({ comment: "", isAuto: false });
    await completed;
  });
  await check();
});

test("a damaged file system is refused", async () => {
  await withVolume(async (volume, live) => {
    await format(volume, live);
    await damage(live);
  });
  await assert.rejects(check(), {
    code: "invalid_request",
    message: "the archive is refused: the disk's file system is damaged",
  });
});

test("a damaged checkpoint of a sound disk is refused", async () => {
  await withVolume(async (volume, live) => {
    await format(volume, live);
    await damage(live);
    const { completed } = await volume.beginCheckpoint({ comment: "", isAuto: false });
    await completed;
    await runCommand("e2fsck", ["-fy", live], { deadlineMs }).catch(() => undefined);
  });
  await assert.rejects(check(), {
    message: "the archive is refused: the file system of checkpoint v0 is damaged",
  });
});
