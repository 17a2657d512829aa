import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { systemClock } from "../lease/clock.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "./engine.ts";

const prefix = "sprites/test";

test("a chain stays short however many cuts there are, its head names it, and it opens anywhere", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-upkeep-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  let skewMs = 0;
  const store = new MemoryObjectStore({ now: () => Date.now() + skewMs });
  const open = (name: string): Promise<VolumeEngine> =>
    VolumeEngine.open({
      ...{ store, prefix, cacheDirectory: join(directory, name), cacheSizeBytesMax: 2 ** 30 },
      ...{ sizeBytes: 64 * unitSizeBytes, readOnly: false, syncIntervalMs: 60_000 },
      onProblem: (problem) => assert.equal(problem, null),
      clock: { ...systemClock, nowMs: () => Date.now() + skewMs },
      retentionMs: 60_000,
    });
  const files = (): string[] =>
    [...store.contents().keys()].filter((key) => key.includes("/meta/"));
  const engine = await open("here");
  t.after(() => engine.abandon().catch(() => undefined));
  const expected = Buffer.alloc(64 * unitSizeBytes);
  for (let cut = 1; cut <= 150; cut++) {
    const bytes = Buffer.alloc(unitSizeBytes, cut);
    const at = (cut % 64) * unitSizeBytes;
    await engine.live.write(at, bytes);
    expected.set(bytes, at);
    await engine.sync();
    // Ten seconds and more between two looks at what is due.
    skewMs += 11_000;
  }
  const deadline = performance.now() + 10_000;
  while (files().length > 60) {
    assert.ok(performance.now() < deadline, `${files().length} files are left`);
    await engine.live.write(0, Buffer.alloc(unitSizeBytes, 200));
    expected.fill(200, 0, unitSizeBytes);
    skewMs += 11_000;
    await engine.sync();
    await delay(5);
  }
  assert.ok(
    files().some((key) => key.includes("/meta/0001/")),
    "transactions were merged",
  );
  await engine.close({ discard: false });
  const head = JSON.parse(
    Buffer.from(store.contents().get(`${prefix}/head.json`) ?? []).toString(),
  ) as { files: unknown[]; holder: unknown };
  assert.equal(head.files.length, files().length);
  assert.equal(head.holder, null);
  const before = store.statistics().requests.list;
  const elsewhere = await open("elsewhere");
  assert.ok(expected.equals(await elsewhere.live.read(0, expected.length)));
  await elsewhere.close({ discard: false });
  assert.equal(store.statistics().requests.list, before, "nothing was listed");
  // Everything that a restore can reach within the retention has its segments; the rest is gone.
  const segments = [...store.contents().keys()].filter((key) => key.includes("/data/"));
  assert.ok(segments.length <= 64 + 20, `${segments.length} segments are left`);
});
