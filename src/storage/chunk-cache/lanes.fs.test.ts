import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { beginCut, captureUnit, finishCut } from "./cut.ts";
import { LocalCache } from "./local-cache.ts";
import { loadPunchHole } from "./punch-hole.ts";
import type { WriterThreadData } from "./testing/writer-thread.ts";

const unitCount = 64;
const cutCount = 60;

test("each cut under a writing thread is the disk at one instant, and the lock starves nobody", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-lanes-"));
  const mapped = new Set<number>();
  const local = LocalCache.open({
    directory,
    sizeBytes: unitCount * unitSizeBytes,
    volumeId: "0123456789abcdef0123456789abcdef",
    bootId: "boot",
    readOnly: false,
    lastCut: 0,
    forEachMapped: () => undefined,
    punchHole: loadPunchHole(),
    nowMs: Date.now,
  });
  const { cache } = local;
  const signal = new Int32Array(new SharedArrayBuffer(8));
  const workerData: WriterThreadData = {
    buffers: cache.state.buffers,
    files: cache.files,
    signal: signal.buffer,
  };
  const worker = new Worker(new URL("testing/writer-thread.ts", import.meta.url), { workerData });
  try {
    const bucket = new Int32Array(unitCount);
    const deadline = performance.now() + 8_000;
    let overlaps = 0;
    let before = 0;
    for (let cut = 1; cut <= cutCount; cut++) {
      while (Atomics.load(signal, 1) === before && performance.now() < deadline) {
        Atomics.wait(signal, 1, before, 5);
      }
      before = Atomics.load(signal, 1);
      const units = beginCut(cache, cut);
      for (const unit of units) {
        const content = Buffer.alloc(unitSizeBytes);
        assert.equal(
          captureUnit(cache, unit, content, ({ here }) => here),
          0xffff,
        );
        const words = new Int32Array(content.buffer, content.byteOffset, unitSizeBytes / 4);
        assert.ok(
          words.every((word) => word === words[0]),
          "a unit is never captured half written",
        );
        bucket[unit] = words[0] ?? 0;
        mapped.add(unit);
      }
      if (Atomics.load(signal, 1) !== before) overlaps++;
      finishCut(cache, cut, units, (unit) => mapped.has(unit));
      local.clearAside();
      verifyInstant(bucket);
      assert.ok(performance.now() < deadline, "the slow lane gets the lock");
    }
    assert.ok(overlaps > 0, "the writer went on during captures");
    assert.ok(Atomics.load(signal, 1) >= cutCount / 2, "the fast lane gets the lock");
  } finally {
    Atomics.store(signal, 0, 1);
    await once(worker, "exit");
    local.abandon();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** The newest round up to some unit, the one before it behind. */
function verifyInstant(bucket: Int32Array): void {
  const newest = bucket[0] ?? 0;
  let isBehind = false;
  for (const [unit, round] of bucket.entries()) {
    if (round === newest - 1) isBehind = true;
    else
      assert.ok(round === newest && !isBehind, `unit ${unit} is of round ${round}, not ${newest}`);
  }
}
