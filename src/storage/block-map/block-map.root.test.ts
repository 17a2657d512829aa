import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BlockMap } from "./block-map.ts";
import type { UnitChange } from "./types.ts";

describe("block map on a full file system", () => {
  it("reports disk_full, keeps the last cut and goes on when there is space", (test) => {
    const directory = mkdtempSync(join(tmpdir(), "block-map-full-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", directory]);
    let map: BlockMap | null = null;
    test.after(() => {
      map?.close();
      execFileSync("umount", [directory]);
      rmSync(directory, { recursive: true });
    });
    map = BlockMap.create(join(directory, "map.db"), { sizeBytes: 8_192 * 256 * 65_536 });
    const ballast = join(directory, "ballast");
    writeFileSync(ballast, Buffer.alloc(600_000));
    const segment = map.allocateSegment();
    const changes = new Map<number, UnitChange>();
    for (let unit = 0; unit < 8_192 * 256; unit += 256) {
      changes.set(unit + 255, {
        blocks: 0xffff,
        slice: { segment, offsetBlocks: 1, stored: 1, check: 1 },
      });
    }
    const commit = (wanted: ReadonlyMap<number, UnitChange>): unknown =>
      map?.commitCut({ cut: 1, changes: wanted, segments: [{ id: segment, sizeBytes: 1 }] });
    assert.throws(() => commit(changes), { code: "disk_full" });
    assert.equal(map.lastCut, 0);
    assert.equal(map.lookup(map.liveFileId, 255), null);
    rmSync(ballast);
    commit(new Map([...changes].slice(0, 20)));
    assert.equal(map.lookup(map.liveFileId, 255)?.[0]?.segment, segment);
    assert.deepEqual(map.checkIntegrity(), []);
  });
});
