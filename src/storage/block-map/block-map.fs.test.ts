import assert from "node:assert/strict";
import SqliteDatabase from "better-sqlite3";
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BlockMap } from "./block-map.ts";
import { unitSizeBytes } from "./geometry.ts";
import { makeMapCopy } from "./testing/make-map-copy.ts";
import {
  checkpoint,
  layoutIn,
  makeMap,
  makePath,
  segmentOf,
  sizeBytes,
  wholeUnit,
  write,
  zeros,
} from "./testing/map-rig.ts";

describe("block map: cuts", () => {
  it("maps units, across leaves, and unmaps them", (test) => {
    const map = makeMap(test);
    const segment = write(map, [0, 255, 256, 4_095]);
    assert.deepEqual(map.lookup(map.liveFileId, 4_095), layoutIn(segment, 49));
    assert.equal(map.lookup(map.liveFileId, 1), null);
    const range = map.lookupRange(map.liveFileId, 254, 4);
    assert.deepEqual(range, [null, layoutIn(segment, 17), layoutIn(segment, 33), null]);
    assert.deepEqual(map.lookupRange(map.liveFileId, 5, 0), []);
    const all: number[] = [];
    map.forEachLiveUnit((unit) => all.push(unit));
    assert.deepEqual(all, [0, 255, 256, 4_095]);
    const part: number[] = [];
    map.forEachLiveUnit((unit) => part.push(unit), { first: 256, end: 4_096 });
    assert.deepEqual(part, [256, 4_095]);
    map.commitCut({ cut: 2, changes: new Map([[255, zeros]]), segments: [] });
    assert.equal(map.lookup(map.liveFileId, 255), null);
    assert.equal(map.statistics().usedBytes, 3 * unitSizeBytes);
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("refuses a cut that is not the next, and changes nothing", (test) => {
    const map = makeMap(test);
    write(map, [1]);
    const segment = map.allocateSegment();
    const changes = new Map([[1, wholeUnit(segment)]]);
    const segments = [{ id: segment, sizeBytes: 1 }];
    for (const cut of [0, 1, 3]) {
      assert.throws(() => map.commitCut({ cut, changes, segments }), { name: "AssertionError" });
    }
    assert.equal(map.lastCut, 1);
    map.commitCut({ cut: 2, changes, segments });
    assert.equal(segmentOf(map, 1), segment);
  });

  it("refuses slices in segments that do not exist or are on their way out", (test) => {
    const map = makeMap(test);
    const first = write(map, [1]);
    write(map, [1]);
    const unknown = map.allocateSegment();
    for (const segment of [first, unknown, 4_000_000]) {
      const changes = new Map([[2, wholeUnit(segment)]]);
      assert.throws(() => map.commitCut({ cut: 3, changes, segments: [] }), {
        name: "AssertionError",
      });
    }
    assert.throws(() => write(map, [4_096]), { name: "AssertionError" });
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("stores attributes with the cut, and keeps its own names to itself", (test) => {
    const map = makeMap(test);
    write(map, [1], { attributes: { pendingNonce: "abc" } });
    map.setAttribute("lastNonce", "first");
    map.setAttribute("lastNonce", "second");
    assert.equal(map.getAttribute("pendingNonce"), "abc");
    assert.equal(map.getAttribute("lastNonce"), "second");
    assert.equal(map.getAttribute("other"), null);
    for (const name of ["lastCut", "sizeBytes", "formatted"]) {
      assert.throws(() => map.setAttribute(name, "0"), { code: "invalid_request" });
    }
  });
});

describe("block map: segments", () => {
  it("gives every segment a number of its own, and a key of its own also after a crash", (test) => {
    const path = makePath(test);
    const committed = new Set<number>();
    const keys = new Set<string>();
    BlockMap.create(path, { sizeBytes }).close();
    for (let run = 0; run < 3; run++) {
      // A connection that is merely forgotten is as one of a killed process.
      const map = BlockMap.open(path);
      test.after(() => map.close());
      committed.add(write(map, [run]));
      for (let turn = 0; turn < 10; turn++) {
        const id = map.allocateSegment();
        assert.equal(committed.has(id) || id === 0, false);
        keys.add(map.segmentKey(id));
      }
    }
    assert.equal(committed.size, 3);
    assert.equal(keys.size, 30);
  });

  it("gives the same number another key in another history", async (test) => {
    const path = makePath(test);
    const map = BlockMap.create(path, { sizeBytes });
    const copy = makeMapCopy(map);
    const first = map.allocateSegment();
    const key = map.segmentKey(first);
    assert.match(key, /^data\/[0-9a-f]{2}\/[0-9a-f]{8}-[0-9a-f]{12}$/);
    map.commitCut({
      cut: 1,
      changes: new Map([[0, wholeUnit(first)]]),
      segments: [{ id: first, sizeBytes: 1 }],
    });
    assert.equal(map.segmentKey(first), key, "the key stays when the segment is committed");
    map.close();
    await BlockMap.restoreFile(path, copy);
    const again = BlockMap.open(path);
    test.after(() => again.close());
    assert.equal(again.allocateSegment(), first);
    assert.notEqual(again.segmentKey(first), key);
  });

  it("hands out garbage when it is old enough and the bucket knows", (test) => {
    let nowMs = 1_000;
    const map = makeMap(test, { now: () => nowMs });
    const first = write(map, [1]);
    const second = write(map, [1]);
    const ids = (olderThanMs: number, syncedCut: number): number[] =>
      map.takeGarbage({ olderThanMs, syncedCut }).map(({ id }) => id);
    nowMs = 2_000;
    assert.deepEqual(ids(1_000, 1), [], "cut 2 dropped it");
    assert.deepEqual(ids(1_001, 2), []);
    assert.deepEqual(ids(1_000, 2), [first]);
    assert.deepEqual(map.statistics(), {
      usedBytes: unitSizeBytes,
      bucketBytes: 1_000,
      garbageBytes: 1_000,
      foreignBytes: 0,
    });
    assert.deepEqual(map.takeGarbage({ olderThanMs: 0, syncedCut: 2 }), [
      { id: first, key: map.segmentKey(first), sizeBytes: 1_000 },
    ]);
    map.markDeleted([first, second, first, 999]);
    assert.deepEqual(ids(0, 2), []);
    assert.equal(map.statistics().garbageBytes, 0);
    assert.equal(segmentOf(map, 1), second, "a named segment is not forgotten");
    assert.deepEqual(
      map.segments().map(({ id }) => id),
      [second],
    );
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("queues a new segment that nothing names", (test) => {
    const map = makeMap(test);
    const unused = write(map, []);
    assert.deepEqual(
      map.takeGarbage({ olderThanMs: 0, syncedCut: 1 }).map(({ id }) => id),
      [unused],
    );
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("finds segments that are mostly unused", (test) => {
    const map = makeMap(test);
    const segment = map.allocateSegment();
    const changes = new Map([0, 1, 2, 3].map((unit) => [unit, wholeUnit(segment, 1 + unit * 16)]));
    const segments = [{ id: segment, sizeBytes: 4 * unitSizeBytes + 4_096 }];
    map.commitCut({ cut: 1, changes, segments });
    const options = { liveShareMax: 0.3, countMax: 10 };
    assert.deepEqual(map.segmentsWorthRewriting(options), []);
    write(map, [0, 1, 2]);
    const [found] = map.segmentsWorthRewriting(options).filter(({ id }) => id === segment);
    assert.equal(found?.liveBytesMax, unitSizeBytes);
  });
});

describe("block map: checkpoints", () => {
  it("keeps a checkpoint's content whatever happens later", (test) => {
    const map = makeMap(test);
    const first = write(map, [1, 300]);
    const id = checkpoint(map);
    write(map, [1]);
    map.commitCut({ cut: map.lastCut + 1, changes: new Map([[300, zeros]]), segments: [] });
    const file = map.checkpointFileId(id);
    assert.equal(segmentOf(map, 1, file), first);
    assert.equal(segmentOf(map, 300, file), first);
    assert.deepEqual(map.takeGarbage({ olderThanMs: 0, syncedCut: 99 }), []);
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("numbers checkpoints, never twice; automatic ones carry their time", (test) => {
    const map = makeMap(test);
    assert.equal(checkpoint(map), "v0");
    assert.equal(checkpoint(map, true), "auto-20260105T103000000Z");
    assert.equal(checkpoint(map, true), "auto-20260105T103000000Z-2");
    assert.equal(checkpoint(map), "v1");
    assert.equal(checkpoint(map), "v2");
    map.restore("v0");
    map.deleteCheckpoint("v2");
    assert.equal(checkpoint(map), "v3");
    const names = map.listCheckpoints().map(({ id }) => id);
    const autos = ["auto-20260105T103000000Z-2", "auto-20260105T103000000Z"];
    assert.deepEqual(names, ["v3", "v1", ...autos, "v0"]);
  });

  it("tells what a checkpoint descends from, also when ancestors are deleted", (test) => {
    const map = makeMap(test);
    for (let index = 0; index < 3; index++) checkpoint(map);
    assert.deepEqual(map.getCheckpoint("v2")?.history, ["v1", "v0"]);
    assert.equal(map.sourceId, "v2");
    map.restore("v0");
    assert.equal(map.sourceId, "v0");
    checkpoint(map);
    assert.deepEqual(map.getCheckpoint("v3")?.history, ["v0"]);
    map.deleteCheckpoint("v1");
    assert.equal(map.getCheckpoint("v2")?.sourceId, "v0");
    map.deleteCheckpoint("v0");
    assert.equal(map.getCheckpoint("v2")?.sourceId, null);
    assert.deepEqual(map.getCheckpoint("v3")?.history, []);
    assert.equal(map.getCheckpoint("v1"), null);
  });

  it("refuses to delete what the live file descends from, and what is not there", (test) => {
    const map = makeMap(test);
    const id = checkpoint(map);
    assert.throws(() => map.deleteCheckpoint(id), { code: "conflict" });
    for (const wrong of ["v9", "live", "", "v0'--"]) {
      assert.throws(() => map.deleteCheckpoint(wrong), { code: "not_found" });
      assert.throws(() => map.restore(wrong), { code: "not_found" });
      assert.throws(() => map.setHealth(wrong, ""), { code: "not_found" });
      assert.throws(() => map.checkpointFileId(wrong), { code: "not_found" });
    }
    map.setHealth(id, "mount_failed");
    assert.equal(map.getCheckpoint(id)?.health, "mount_failed");
  });

  it("frees what only the deleted checkpoint named, dropped by the next cut", (test) => {
    const map = makeMap(test);
    const first = write(map, [1]);
    checkpoint(map);
    write(map, [1]);
    checkpoint(map);
    const before = map.lastCut;
    map.deleteCheckpoint("v0");
    assert.deepEqual(map.takeGarbage({ olderThanMs: 0, syncedCut: before }), []);
    const garbage = map.takeGarbage({ olderThanMs: 0, syncedCut: before + 1 });
    assert.deepEqual(
      garbage.map(({ id }) => id),
      [first],
    );
    assert.deepEqual(map.checkIntegrity(), []);
  });

  it("restores and says which units changed", (test) => {
    const map = makeMap(test);
    const first = write(map, [1, 2, 300, 4_000]);
    const id = checkpoint(map);
    write(map, [2, 3]);
    map.commitCut({ cut: map.lastCut + 1, changes: new Map([[4_000, zeros]]), segments: [] });
    assert.deepEqual([...map.restore(id)], [2, 3, 4_000]);
    assert.deepEqual([...map.restore(id)], []);
    const found = [1, 2, 3, 300, 4_000].map((unit) => segmentOf(map, unit));
    assert.deepEqual(found, [first, first, undefined, first, first]);
    assert.equal(map.statistics().usedBytes, 4 * unitSizeBytes);
    write(map, [1]);
    assert.equal(segmentOf(map, 1, map.checkpointFileId(id)), first);
    assert.deepEqual(map.checkIntegrity(), []);
  });
});

describe("block map: file", () => {
  it("never unsets the formatted flag", (test) => {
    const map = makeMap(test);
    assert.equal(map.formatted, false);
    map.markFormatted();
    map.markFormatted();
    assert.equal(map.formatted, true);
    const sqlite = new SqliteDatabase(map.path);
    test.after(() => sqlite.close());
    for (const sql of [
      "UPDATE attribute SET value = '0' WHERE name = 'formatted'",
      "UPDATE attribute SET name = 'other' WHERE name = 'formatted'",
      "DELETE FROM attribute",
      "INSERT OR REPLACE INTO attribute VALUES ('formatted', '0')",
      "REPLACE INTO attribute VALUES ('formatted', 0)",
    ]) {
      assert.throws(() => sqlite.exec(sql), /never unset/, sql);
    }
    assert.equal(map.formatted, true);
  });

  it("survives being closed and copied", async (test) => {
    const path = makePath(test);
    const map = BlockMap.create(path, { sizeBytes });
    const segment = write(map, [5]);
    const id = checkpoint(map);
    map.markFormatted();
    const copy = makeMapCopy(map);
    write(map, [5]);
    map.close();
    assert.equal(existsSync(`${path}-wal`), false);

    const reopened = BlockMap.open(path);
    assert.notEqual(segmentOf(reopened, 5), segment);
    // Left open: its log must not be replayed into the file that replaces it.
    write(reopened, [6]);
    test.after(() => reopened.close());
    await BlockMap.restoreFile(path, copy);
    const restored = BlockMap.open(path, { readOnly: true });
    test.after(() => restored.close());
    assert.equal(segmentOf(restored, 5), segment, "as of when it was made");
    assert.equal(restored.lookup(restored.liveFileId, 6), null);
    assert.equal(restored.formatted, true);
    assert.equal(restored.getCheckpoint(id)?.id, id);
    assert.deepEqual(restored.checkIntegrity(), []);
    assert.throws(() => restored.setAttribute("a", "b"), { code: "storage_failure" });
  });

  it("takes no damaged copy, whichever byte is wrong, and keeps what was there", async (test) => {
    const path = makePath(test);
    const map = BlockMap.create(path, { sizeBytes });
    write(map, [5]);
    const copy = makeMapCopy(map);
    map.close();
    const before = readFileSync(path);
    const rejects = (bytes: Uint8Array): Promise<void> =>
      assert.rejects(BlockMap.restoreFile(path, bytes), { code: "storage_failure" });
    for (let offset = 0; offset < copy.length; offset += offset < 64 ? 1 : 37) {
      const damaged = Buffer.from(copy);
      damaged[offset] = (damaged[offset] ?? 0) ^ 0x10;
      await rejects(damaged);
    }
    for (const length of [0, 8, 63, 64, copy.length - 1]) await rejects(copy.subarray(0, length));
    await rejects(Buffer.concat([copy, Buffer.from("x")]));
    assert.ok(before.equals(readFileSync(path)));
    assert.deepEqual(readdirSync(join(path, "..")), ["map.db"]);
  });

  it("opens nothing but a block map", (test) => {
    const path = makePath(test);
    assert.throws(() => BlockMap.open(path), { code: "storage_failure" });
    writeFileSync(path, "");
    assert.throws(() => BlockMap.open(path), { code: "storage_failure" });
    writeFileSync(path, Buffer.alloc(8_192, 1));
    assert.throws(() => BlockMap.open(path), { code: "storage_failure" });
    rmSync(path);
    const sqlite = new SqliteDatabase(path);
    sqlite.exec("CREATE TABLE attribute (name, value)");
    sqlite.close();
    assert.throws(() => BlockMap.open(path), {
      code: "storage_failure",
      message: /not a block map/,
    });
    assert.throws(() => BlockMap.create(path, { sizeBytes }), { code: "already_exists" });
    const wrong = { sizeBytes: 1_000 };
    assert.throws(() => BlockMap.create(`${path}2`, wrong), { code: "invalid_request" });
  });

  it("notices counters that are wrong", (test) => {
    for (const [sql, expected] of [
      ["UPDATE segment SET refs = 2", /segment 1 is named 1 times/],
      ["DELETE FROM segment", /segment 1 is named and has no row/],
      ["UPDATE file SET used_blocks = 3", /live maps 16 blocks/],
      ["DELETE FROM root", /leaf 1 is named by no file/],
      ["DELETE FROM leaf", /live names leaf 1, which is missing/],
      ["INSERT INTO root VALUES (9, 0, 1)", /1 root rows belong to no file/],
      ["INSERT INTO root VALUES (1, 3, 1)", /leaf 1 is named at two places/],
      ["INSERT INTO garbage VALUES (1, 0, 0)", /wrongly/],
      ["UPDATE attribute SET value = 5 WHERE name = 'namedBytes'", /namedBytes is 1000/],
      ["UPDATE segment SET owner = 'sprites/a'", /foreignBytes is 1000/],
      ["UPDATE attribute SET value = 1 WHERE name = 'nextSegment'", /will be given out again/],
    ] as const) {
      const map = makeMap(test);
      write(map, [1]);
      assert.deepEqual(map.checkIntegrity(), []);
      const sqlite = new SqliteDatabase(map.path);
      sqlite.exec(sql);
      sqlite.close();
      assert.match(map.checkIntegrity().join("\n"), expected, sql);
    }
  });
});
