import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { DiskRig, run } from "./testing/disk-rig.ts";
import type { CheckpointRecord, VolumeStatistics } from "./volume.ts";

const mebibyte = 1024 * 1024;

async function writeSynced(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

test("a checkpoint brings everything back, and can be looked at meanwhile", async () => {
  const rig = new DiskRig();
  try {
    await rig.start();
    await rig.attach({ format: true });
    await writeSynced(join(rig.disk, "kept"), randomBytes(20 * mebibyte));
    const hash = await hashOf(join(rig.disk, "kept"));
    await rig.detach();
    const { id } = await rig.call<CheckpointRecord>("checkpoint", "first");
    await rig.attach({ format: false });
    await writeSynced(join(rig.disk, "kept"), randomBytes(20 * mebibyte));
    await writeSynced(join(rig.disk, "added"), randomBytes(mebibyte));

    await rig.call("showCheckpoint", id);
    const view = join(rig.directory, "view");
    mkdirSync(view);
    await run("mount", "-o", "loop,ro,noload", join(rig.fuse, id), view);
    try {
      assert.equal(await hashOf(join(view, "kept")), hash);
    } finally {
      await run("umount", view);
    }
    await rig.call("hideCheckpoint", id);

    await rig.detach();
    await rig.call("restore", id);
    await rig.attach({ format: false });
    assert.equal(await hashOf(join(rig.disk, "kept")), hash);
    await assert.rejects(readFile(join(rig.disk, "added")), /ENOENT/);
    await rig.check();
  } finally {
    await rig.dispose();
  }
});

test("deleting a file gives its space back, in the cache and in the map", async () => {
  const rig = new DiskRig();
  try {
    await rig.start();
    await rig.attach({ format: true });
    await run("sync", "-f", rig.disk);
    await rig.call("sync");
    const empty = await rig.call<VolumeStatistics>("statistics");
    await writeSynced(join(rig.disk, "big"), randomBytes(48 * mebibyte));
    await rig.call("sync");
    const full = await rig.call<VolumeStatistics>("statistics");
    assert.ok(full.usedBytes > empty.usedBytes + 47 * mebibyte);
    assert.ok(full.cachedBytes > empty.cachedBytes + 47 * mebibyte);
    await rm(join(rig.disk, "big"));
    await run("sync", "-f", rig.disk);
    await run("fstrim", rig.disk);
    await rig.call("sync");
    const trimmed = await rig.call<VolumeStatistics>("statistics");
    assert.ok(trimmed.usedBytes < empty.usedBytes + 4 * mebibyte, `${trimmed.usedBytes} used`);
    assert.ok(trimmed.cachedBytes < empty.cachedBytes + 8 * mebibyte, `${trimmed.cachedBytes}`);
    assert.ok(trimmed.bucketBytes < full.bucketBytes - 40 * mebibyte);
  } finally {
    await rig.dispose();
  }
});

test("a disk much larger than its cache reads right", async () => {
  const cacheSizeBytesMax = 16 * mebibyte;
  const rig = new DiskRig({ cacheSizeBytesMax });
  try {
    await rig.start();
    await rig.attach({ format: true });
    const hashes: string[] = [];
    for (let file = 0; file < 6; file++) {
      await writeSynced(join(rig.disk, `f${file}`), randomBytes(12 * mebibyte));
      hashes.push(await hashOf(join(rig.disk, `f${file}`)));
    }
    await rig.call("sync");
    // Mounting anew empties the kernel's cache of the files.
    await rig.detach();
    await rig.attach({ format: false });
    for (const [file, hash] of hashes.entries()) {
      assert.equal(await hashOf(join(rig.disk, `f${file}`)), hash, `file ${file}`);
    }
    const deadline = performance.now() + 15_000;
    for (;;) {
      const { cachedBytes } = await rig.call<VolumeStatistics>("statistics");
      if (cachedBytes <= cacheSizeBytesMax) break;
      assert.ok(performance.now() < deadline, `${cachedBytes} bytes are cached`);
      await delay(100);
    }
    await rig.check();
  } finally {
    await rig.dispose();
  }
});

test("a cleanly closed volume opens again, and a mount that is busy is taken down", async () => {
  const rig = new DiskRig();
  try {
    await rig.start();
    await rig.attach({ format: true });
    await writeSynced(join(rig.disk, "kept"), Buffer.from("content"));
    await rig.stop();
    await rig.start();
    await rig.attach({ format: false });
    assert.equal((await readFile(join(rig.disk, "kept"))).toString(), "content");
  } finally {
    await rig.dispose();
  }
});
