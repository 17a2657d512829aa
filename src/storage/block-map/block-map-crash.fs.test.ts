import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it, type TestContext } from "node:test";
import { BlockMap } from "./block-map.ts";

/** Runs a process that commits cuts, kills it after so many, and returns what it has told. */
async function commitUntilKilled(
  test: TestContext,
  path: string,
  cutCount: number,
): Promise<{ cut: number; segment: number }[]> {
  const script = new URL("testing/crash-worker.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
  test.after(() => child.kill("SIGKILL"));
  const told: { cut: number; segment: number }[] = [];
  const reader = createInterface({ input: child.stdout });
  const exited = once(child, "exit");
  reader.on("line", (line) => {
    const [cut = 0, segment = 0] = line.split(" ").map(Number);
    if (told.push({ cut, segment }) === cutCount) child.kill("SIGKILL");
  });
  await Promise.all([exited, once(reader, "close")]);
  return told;
}

describe("block map, killed while it writes", { timeout: 60_000 }, () => {
  it("has every cut that was told, and is sound", async (test) => {
    const directory = mkdtempSync(join(tmpdir(), "block-map-crash-"));
    test.after(() => rmSync(directory, { recursive: true, force: true }));
    const path = join(directory, "map.db");
    BlockMap.create(path, { sizeBytes: 4_096 * 65_536 }).close();
    const segments = new Set<number>();
    let committed = 0;
    for (const cutCount of [1, 9, 30, 57]) {
      const told = await commitUntilKilled(test, path, cutCount);
      for (const { segment } of told) segments.add(segment);
      committed += told.length;
      const map = BlockMap.open(path);
      const last = told.at(-1)?.cut ?? 0;
      // The kill may come after a commit that was not told.
      assert.ok(map.lastCut >= last && map.lastCut <= last + 1, `${map.lastCut} after ${last}`);
      assert.deepEqual(map.checkIntegrity(), []);
      assert.equal(segments.has(map.allocateSegment()), false);
      map.close();
    }
    assert.equal(segments.size, committed, "no number was committed twice");
  });
});
