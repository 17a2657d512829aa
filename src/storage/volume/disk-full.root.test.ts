import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import { FaultyStore } from "./testing/faulty-store.ts";

const unitCount = 1_024;

test("a full cache disk gives the guest ENOSPC, keeps what it has, and empties into the bucket", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-full-"));
  const cacheDirectory = join(directory, "cache");
  mkdirSync(cacheDirectory);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "none", cacheDirectory]);
  const directoryStore = await DirectoryObjectStore.open(join(directory, "bucket"));
  const store = new FaultyStore(directoryStore, () => 0);
  const engine = await VolumeEngine.open({
    store,
    prefix: "sprites/full",
    cacheDirectory,
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: unitCount * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 20,
    onProblem: () => undefined,
    retryMsMin: 5,
  });
  try {
    // The store is down, so nothing can become clean and be evicted.
    store.failureRate = 1;
    const written: number[] = [];
    const fill = async (): Promise<void> => {
      for (let unit = written.length; unit < unitCount; unit++) {
        await engine.live.write(
          unit * unitSizeBytes,
          Buffer.alloc(unitSizeBytes, 1 + (unit % 250)),
        );
        written.push(unit);
      }
    };
    await assert.rejects(fill(), { code: "ENOSPC" });
    assert.ok(written.length > 32 && written.length < 400, `${written.length} units fit`);
    const verify = async (): Promise<void> => {
      for (const unit of written) {
        const found = await engine.live.read(unit * unitSizeBytes, unitSizeBytes);
        assert.ok(
          found.every((byte) => byte === 1 + (unit % 250)),
          `unit ${unit}`,
        );
      }
    };
    await verify();
    store.failureRate = 0;
    await engine.sync();
    // Clean units make room for twice what the disk holds.
    while (written.length < 600) {
      await fill().catch((error: NodeJS.ErrnoException) => assert.equal(error.code, "ENOSPC"));
      await engine.sync();
    }
    await verify();
  } finally {
    await engine.abandon();
    execFileSync("umount", [cacheDirectory]);
    rmSync(directory, { recursive: true, force: true });
  }
});
