import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { waitUntil } from "../../base/wait.ts";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "./engine.ts";

const retentionMs = 60_000;

test("a segment that was uploaded just before a crash goes once it is old enough", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-sweep-"));
  const time = { nowMs: 1_700_000_000_000 };
  const now = (): number => time.nowMs;
  const clock = { nowMs: now, monotonicMs: now, wait: () => Promise.resolve() };
  const store = new MemoryObjectStore({ now });
  const open = (): Promise<VolumeEngine> =>
    VolumeEngine.open({
      ...{ store, clock, retentionMs },
      prefix: "sprites/swept",
      cacheDirectory: directory,
      cacheSizeBytesMax: 64 * unitSizeBytes,
      sizeBytes: 4 * unitSizeBytes,
      readOnly: false,
      syncIntervalMs: 1,
      onProblem: () => undefined,
    });
  const leaving = "sprites/swept/data/09/00000009-0123456789ab";
  const isThere = (): boolean => store.contents().has(leaving);
  const looks = (): number => store.statistics().requests.list;
  try {
    const dying = await open();
    await dying.sync();
    await dying.abandon();
    await store.put(leaving, Buffer.alloc(4_096));
    time.nowMs += 1_000;
    const before = looks();
    const engine = await open();
    // The opening lists the chain, the first sweep the segments.
    await waitUntil(() => looks() >= before + 2, { timeoutMs: 10_000 });
    assert.ok(isThere(), "what is young may belong to a fork that is being made");
    time.nowMs += 2 * retentionMs + 1_000;
    await waitUntil(() => !isThere(), { timeoutMs: 10_000 });
    assert.ok(!isThere(), "the crash's leavings are found although they were too young at first");
    await engine.close({ discard: false });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
