import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { evictionScanUnits } from "./limits.ts";
import { LocalCache } from "./local-cache.ts";
import { loadPunchHole } from "./punch-hole.ts";

const unitCount = 5;
const punchHole = loadPunchHole();

function open(
  directory: string,
  mapped: readonly number[] | null,
  count: number = unitCount,
): LocalCache {
  return LocalCache.open({
    directory,
    sizeBytes: count * unitSizeBytes,
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

    await local.settleMapping((visit) => [1, 3].forEach(visit));
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

test("while a large map is taken over part by part, the disk is read and written", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-cache-"));
  try {
    const count = 3 * evictionScanUnits + 5;
    const everyBlock = 0xffff;
    const mapped = [0, evictionScanUnits - 1, evictionScanUnits, 2 * evictionScanUnits, count - 1];
    const written = [1, evictionScanUnits + 1, count - 2, count - 1];
    const local = open(directory, null, count);
    const { cache } = local;
    const block = Buffer.alloc(blockSizeBytes, 7);
    let parts = 0;
    const settling = local.settleMapping((visit, { first, end }) => {
      parts++;
      for (const unit of mapped) if (unit >= first && unit < end) visit(unit);
    });
    assert.equal(parts, 1, "others have their turn before the rest");
    for (const unit of written) cache.write(unit * unitSizeBytes, block, 0, blockSizeBytes);
    await settling;
    assert.equal(parts, 4);
    const missing = new Map<number, number>();
    for (let unit = 0; unit < count; unit++) {
      if (cache.missingBlocks(unit) !== 0) missing.set(unit, cache.missingBlocks(unit));
    }
    const expected = mapped.map((unit): [number, number] => [unit, everyBlock]);
    assert.deepEqual(missing, new Map([...expected, [count - 1, everyBlock & ~1]]));
    const found = Buffer.alloc(unitSizeBytes);
    for (const unit of [1, evictionScanUnits + 1, count - 2]) {
      assert.ok(cache.tryRead(unit * unitSizeBytes, unitSizeBytes, found, 0));
      assert.ok(found.equals(Buffer.concat([block], unitSizeBytes)), "and the rest is zeros");
    }
    local.abandon();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
