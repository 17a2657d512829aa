import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom } from "./testing/faulty-store.ts";
import { DiskRig, run } from "./testing/disk-rig.ts";

/** A file whose content follows from its number. */
function contentOf(file: number): Buffer {
  const seed = createHash("sha256").update(`file ${file}`).digest();
  return Buffer.alloc(1_000 + (file % 7) * 9_000, seed);
}

test("a server that dies and is replaced on the same descriptor costs its users nothing but time", async () => {
  const seed = 20_261_124;
  const random = seededRandom(seed);
  const rig = new DiskRig();
  try {
    await rig.holdMount();
    await rig.start();
    await rig.attach({ format: true });
    let isStopping = false;
    const written = [0, 0, 0];
    const writers = written.map(async (_, writer) => {
      for (; !isStopping; written[writer] = (written[writer] as number) + 1) {
        const file = writer + 3 * (written[writer] as number);
        const handle = await open(join(rig.disk, `f${file}`), "w+");
        await handle.writeFile(contentOf(file));
        await handle.sync();
        await handle.close();
      }
    });
    for (let round = 0; round < 5; round++) {
      await delay(200 + random() * 500);
      await rig.killServer();
      const before = [...written];
      await delay(50);
      await rig.start();
      const deadline = performance.now() + 10_000;
      while (written.some((count, writer) => count < (before[writer] as number) + 2)) {
        assert.ok(performance.now() < deadline, `seed ${seed}: writers go on after a takeover`);
        await delay(5);
      }
    }
    isStopping = true;
    await Promise.all(writers);
    await run("sh", "-c", "echo 3 > /proc/sys/vm/drop_caches");
    for (const [writer, count] of written.entries()) {
      assert.ok(count > 10, `writer ${writer} wrote ${count} files`);
      for (let index = 0; index < count; index++) {
        const file = writer + 3 * index;
        const found = await readFile(join(rig.disk, `f${file}`));
        assert.ok(found.equals(contentOf(file)), `seed ${seed}: file ${file}`);
      }
    }
    await rig.check();
  } finally {
    await rig.dispose();
  }
});
