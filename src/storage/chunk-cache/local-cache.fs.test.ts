import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { LocalCache } from "./local-cache.ts";
import { loadPunchHole } from "./punch-hole.ts";

const unitCount = 5;
const punchHole = loadPunchHole();

function open(directory: string, mapped: readonly number[] | null): LocalCache {
  return LocalCache.open({
    directory,
    sizeBytes: unitCount * unitSizeBytes,
    volumeId: "0123456789abcdef0123456789abcdef",
    bootId: "boot",
    readOnly: false,
    lastCut: 0,
    forEachMapped: mapped === null ? null : (visit) => mapped.forEach(visit),
    punchHole,
    nowMs: Date.now,
  });
}

test("before the map is here every unit may be stored; what was written meanwhile stays", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-cache-"));
  try {
    const local = open(directory, null);
    const { cache } = local;
    const everyBlock = 0xffff;
    for (let unit = 0; unit < unitCount; unit++)
      assert.equal(cache.missingBlocks(unit), everyBlock);
    const block = Buffer.alloc(blockSizeBytes, 7);
    cache.write(0, block, 0, blockSizeBytes);
    cache.write(unitSizeBytes, block, 0, blockSizeBytes);
    local.learnUnmapped(2);
    assert.equal(cache.missingBlocks(2), 0);

    local.settleMapping((visit) => [1, 3].forEach(visit));
    assert.deepEqual(
      Array.from({ length: unitCount }, (_, unit) => cache.missingBlocks(unit)),
      [0, 0xfffe, 0, everyBlock, 0],
    );
    const found = Buffer.alloc(unitSizeBytes);
    assert.ok(cache.tryRead(0, unitSizeBytes, found, 0));
    assert.ok(found.equals(Buffer.concat([block], unitSizeBytes)));
    // The map decides from now on: a cut may have made it out of date in the caller's hands.
    local.learnUnmapped(3);
    assert.equal(cache.missingBlocks(3), everyBlock);

    local.abandon();
    const again = open(directory, [1, 3]);
    assert.equal(again.distrust, null);
    found.fill(0);
    assert.ok(again.cache.tryRead(0, unitSizeBytes, found, 0), "dirty blocks outlive a kill");
    assert.ok(found.equals(Buffer.concat([block], unitSizeBytes)));
    again.abandon();
    const unknown = open(directory, null);
    assert.equal(unknown.distrust, "the map is not here yet");
    unknown.abandon();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
