/** What is found at an open: files of the format before, and files without a log. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { setAside } from "./cache-files.ts";
import { orphansMax } from "./limits.ts";
import { LocalCache } from "./local-cache.ts";
import { areaStartUnits } from "./log-area.ts";
import { loadPunchHole } from "./punch-hole.ts";
import { encodeRecord, logOffset, recordType } from "./residency-log.ts";

const unitCount = 5;
const punchHole = loadPunchHole();

function open(directory: string, mapped: readonly number[] | null, bootId = "boot"): LocalCache {
  return LocalCache.open({
    directory,
    sizeBytes: unitCount * unitSizeBytes,
    volumeId: "0123456789abcdef0123456789abcdef",
    bootId,
    readOnly: false,
    lastCut: 0,
    forEachMapped: mapped === null ? null : (visit) => mapped.forEach(visit),
    punchHole,
    nowMs: Date.now,
  });
}

/** The directory as the version before left it: unit 0 dirty in blocks 0 and 1, unit 1 written and not flushed. */
function makeOldDirectory(directory: string): void {
  const file = openSync(join(directory, "blocks"), "w+");
  writeSync(file, Buffer.alloc(2 * blockSizeBytes, 7), 0, 2 * blockSizeBytes, 0);
  writeSync(file, Buffer.alloc(blockSizeBytes, 8), 0, blockSizeBytes, unitSizeBytes);
  closeSync(file);
  truncateSync(join(directory, "blocks"), unitCount * unitSizeBytes);
  const log = Buffer.alloc(logOffset(16));
  log.write("OSresid2", 0, "latin1");
  log.writeUInt32LE(unitCount, 8);
  log.writeBigUInt64LE(BigInt(statSync(join(directory, "blocks")).ino), 16);
  log.write("0123456789abcdef0123456789abcdef", 24, "latin1");
  log.write("boot", 56, "latin1");
  log.writeUInt32LE(zlibCrc32(log.subarray(0, 92)), 92);
  const records = [
    { type: recordType.unit, value: 0, valid: 0xffff, dirty: 3 },
    { type: recordType.flushed, value: 1, valid: 0, dirty: 0 },
    { type: recordType.unit, value: 1, valid: 0xffff, dirty: 1 },
  ];
  // Checksums began from the index alone.
  for (const [index, record] of records.entries()) {
    encodeRecord(log, logOffset(index), index, record);
  }
  writeFileSync(join(directory, "residency.log"), log);
}

for (const [bootId, dirtyUnits] of [
  ["boot", [3, 1]],
  ["another", [3, 0]],
] as const) {
  test(`a cache with a log of its own file is believed, and changed to this format (boot id ${bootId})`, () => {
    const directory = mkdtempSync(join(tmpdir(), "opensprites-cache-"));
    try {
      makeOldDirectory(directory);
      const local = open(directory, [], bootId);
      assert.equal(local.distrust, null);
      assert.deepEqual(
        [0, 1].map((unit) => local.cache.state.dirty(unit)),
        dirtyUnits,
      );
      assert.equal(existsSync(join(directory, "residency.log")), false);
      const found = Buffer.alloc(3 * blockSizeBytes);
      assert.ok(local.cache.tryRead(0, found.length, found, 0));
      assert.ok(found.equals(Buffer.concat([Buffer.alloc(8_192, 7)], found.length)));
      const block = Buffer.alloc(blockSizeBytes, 9);
      local.cache.write(blockSizeBytes, block, 0, blockSizeBytes);
      local.abandon();

      // The removal of the old log did not reach the disk: the newer one counts.
      const rest = mkdtempSync(join(tmpdir(), "opensprites-cache-"));
      makeOldDirectory(rest);
      const old = readFileSync(join(rest, "residency.log"));
      rmSync(rest, { recursive: true });
      writeFileSync(join(directory, "residency.log"), old);
      const again = open(directory, [], bootId);
      assert.equal(again.distrust, null);
      assert.equal(again.cache.state.dirty(0), 0xffff, "what the newer log says");
      assert.ok(again.cache.tryRead(blockSizeBytes, blockSizeBytes, found, 0));
      assert.equal(found.readUInt8(0), 9);
      again.abandon();
      assert.equal(existsSync(join(directory, "residency.log")), false);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

test("a cache file that never got its log holds nothing, and one whose logs are gone is set aside", () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-cache-"));
  try {
    writeFileSync(join(directory, "blocks"), "");
    truncateSync(join(directory, "blocks"), unitCount * unitSizeBytes);
    const local = open(directory, []);
    assert.equal(local.distrust, null);
    const block = Buffer.alloc(blockSizeBytes, 9);
    local.cache.write(0, block, 0, blockSizeBytes);
    local.abandon();
    truncateSync(join(directory, "blocks"), areaStartUnits(unitCount, 0) * unitSizeBytes);
    const other = open(directory, []);
    assert.equal(other.distrust, "there is no residency log");
    other.abandon();
    assert.ok(readdirSync(directory).some((name) => name.startsWith("orphan-")));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("what was set aside last stays, also when the clock was set back before", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-aside-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const noonMs = Date.UTC(2026, 0, 1, 12);
  const made = [0, 1, 2, -60].map((minutes) => {
    writeFileSync(join(directory, "blocks"), String(minutes));
    return setAside(directory, ["blocks"], noonMs + minutes * 60_000);
  });
  const kept = readdirSync(directory).map((name) => join(directory, name));
  assert.deepEqual(new Set(kept), new Set(made.slice(2)));
  assert.equal(kept.length, orphansMax);
  assert.equal(readFileSync(join(made[3] as string, "blocks"), "utf8"), "-60");
});
