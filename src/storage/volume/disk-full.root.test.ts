import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
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

test("a disk that others have filled up keeps nobody from reading", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-full-"));
  const cacheDirectory = join(directory, "cache");
  mkdirSync(cacheDirectory);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "none", cacheDirectory]);
  const engine = await VolumeEngine.open({
    store: await DirectoryObjectStore.open(join(directory, "bucket")),
    prefix: "sprites/full",
    cacheDirectory,
    cacheSizeBytesMax: 2 * unitSizeBytes,
    sizeBytes: 64 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 20,
    onProblem: () => undefined,
  });
  try {
    const contentOf = (unit: number): Buffer => Buffer.alloc(unitSizeBytes, 1 + unit);
    for (let unit = 0; unit < 64; unit++) {
      await engine.live.write(unit * unitSizeBytes, contentOf(unit));
    }
    await engine.sync();
    // Overwritten in part and nowhere else yet: this must lie over what comes from the bucket.
    await engine.live.write(9 * unitSizeBytes, Buffer.alloc(4_096, 200));
    const filler = openSync(join(cacheDirectory, "filler"), "w");
    assert.throws(() => {
      for (;;) writeSync(filler, Buffer.alloc(4_096));
    }, /ENOSPC/);
    for (let unit = 0; unit < 64; unit++) {
      const expected = contentOf(unit);
      if (unit === 9) expected.fill(200, 0, 4_096);
      const found = await engine.live.read(unit * unitSizeBytes, unitSizeBytes);
      assert.ok(expected.equals(found), `unit ${unit}`);
    }
    closeSync(filler);
  } finally {
    await engine.abandon();
    execFileSync("umount", [cacheDirectory]);
    rmSync(directory, { recursive: true, force: true });
  }
});
