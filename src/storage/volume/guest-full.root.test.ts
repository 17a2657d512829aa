/** A guest's ext4 on a disk whose cache is full while the bucket takes nothing. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, statfsSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { DiskRig } from "./testing/disk-rig.ts";

const pieceBytes = 2 ** 20;

async function writeSynced(file: FileHandle, piece: number): Promise<void> {
  await file.write(Buffer.alloc(pieceBytes, 1 + piece), 0, pieceBytes, piece * pieceBytes);
  await file.sync();
}

function mountTmpfs(directory: string, size: string): void {
  mkdirSync(directory, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "none", directory]);
}

function mountOptions(directory: string): string[] {
  const line = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .find((candidate) => candidate.split(" ")[1] === directory);
  return line?.split(" ")[3]?.split(",") ?? [];
}

test("ext4 on a full cache gets errors, loses nothing that was synced, and goes on when there is room", async (context) => {
  const rig = new DiskRig({ sizeBytes: 2 ** 29 });
  const bucket = join(rig.directory, "bucket");
  mountTmpfs(rig.cacheDirectory, "64m");
  mountTmpfs(bucket, "40m");
  try {
    await rig.start();
    await rig.attach({ format: true });
    const first = await open(join(rig.disk, "first"), "w+");
    for (let piece = 0; piece < 8; piece++) await writeSynced(first, piece);
    const second = await open(join(rig.disk, "second"), "w+");
    let written = 0;
    await assert.rejects(async () => {
      for (; written < 200; written++) await writeSynced(second, written);
    });
    context.diagnostic(`${written} MiB were synced before the first error`);
    await second.close();
    context.diagnostic(mountOptions(rig.disk).join(","));
    assert.ok(mountOptions(rig.disk).includes("rw"), "the file system is writable still");
    // A bucket that is full keeps the cut from being made, and the guest from nothing that is small.
    const { bavail, bsize } = statfsSync(rig.cacheDirectory);
    context.diagnostic(`${(bavail * bsize) >> 10} KiB are left`);
    const small = await open(join(rig.disk, "small"), "w+");
    for (let round = 0; round < 8; round++) {
      await small.write(Buffer.alloc(4096, 1 + round), 0, 4096, round * 4096);
      await small.sync();
    }
    await small.close();

    execFileSync("mount", ["-o", "remount,size=1g", bucket]);
    await rig.call("sync");
    for (let piece = 0; piece < 8; piece++) await writeSynced(first, piece);
    const third = await open(join(rig.disk, "third"), "w+");
    for (let piece = 0; piece < 40; piece++) await writeSynced(third, piece);
    await third.close();
    execFileSync("sh", ["-c", "echo 3 > /proc/sys/vm/drop_caches"]);
    for (const [name, pieces] of [
      ["first", 8],
      ["second", written],
      ["third", 40],
    ] as const) {
      const bytes = readFileSync(join(rig.disk, name));
      for (let piece = 0; piece < pieces; piece++) {
        const found = bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes);
        assert.ok(found.equals(Buffer.alloc(pieceBytes, 1 + piece)), `${name}, MiB ${piece}`);
      }
    }
    await first.close();
    await rig.check();
  } finally {
    await rig.kill();
    for (const directory of [rig.cacheDirectory, bucket]) execFileSync("umount", [directory]);
    await rig.dispose();
  }
});
