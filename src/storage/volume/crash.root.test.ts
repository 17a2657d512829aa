import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom } from "./testing/faulty-store.ts";
import { DiskRig } from "./testing/disk-rig.ts";

/** A file whose content follows from its number. */
function contentOf(file: number): Buffer {
  const seed = createHash("sha256").update(`file ${file}`).digest();
  return Buffer.alloc(1_000 + (file % 7) * 9_000, seed);
}

interface Written {
  file: number;
  atMs: number;
}

/** Writes files, each synced, until the disk fails. */
async function writeFiles(directory: string, firstFile: number, synced: Written[]): Promise<void> {
  for (let file = firstFile; ; file++) {
    try {
      const handle = await open(join(directory, `f${file}`), "w");
      try {
        await handle.writeFile(contentOf(file));
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch {
      return;
    }
    synced.push({ file, atMs: performance.now() });
  }
}

function isIntact(directory: string, file: number): boolean {
  try {
    return readFileSync(join(directory, `f${file}`)).equals(contentOf(file));
  } catch {
    return false;
  }
}

test("killed at random moments under load, the disk keeps every synced file and stays clean", async () => {
  const random = seededRandom(20_261_124);
  const rig = new DiskRig();
  const synced: Written[] = [];
  try {
    await rig.start();
    await rig.attach({ format: true });
    for (let round = 0; round < 4; round++) {
      const writing = writeFiles(rig.disk, (synced.at(-1)?.file ?? 0) + 1, synced);
      await delay(300 + random() * 900);
      await rig.killServer();
      await writing;
      await rig.kill();
      await rig.start();
      await rig.attach({ format: false });
      for (const { file } of synced) assert.ok(isIntact(rig.disk, file), `synced file ${file}`);
      await rig.check();
      await rig.detach();
      await rig.attach({ format: false });
    }
    assert.ok(synced.length > 40, `only ${synced.length} files were written`);
  } finally {
    await rig.dispose();
  }
});

test("with the cache deleted after a kill, the bucket has a prefix, no older than two seconds", async () => {
  const rig = new DiskRig();
  const synced: Written[] = [];
  try {
    await rig.start();
    await rig.attach({ format: true });
    const writing = writeFiles(rig.disk, 1, synced);
    await delay(3_200);
    const killedAtMs = performance.now();
    await rig.killServer();
    await writing;
    await rig.kill();
    rmSync(rig.cacheDirectory, { recursive: true, force: true });
    await rig.start();
    await rig.attach({ format: false });
    const intact = synced.filter(({ file }) => isIntact(rig.disk, file));
    assert.ok(intact.length > 0);
    assert.deepEqual(intact, synced.slice(0, intact.length), "what is there is a prefix");
    for (const written of synced) {
      if (written.atMs < killedAtMs - 2_000) assert.ok(intact.includes(written));
    }
    assert.ok((await readdir(rig.disk)).length > intact.length - 1);
    await rig.check();
  } finally {
    await rig.dispose();
  }
});
