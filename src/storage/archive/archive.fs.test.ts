/** A volume, out into one file and in again elsewhere, and what becomes of a damaged file. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { Database } from "../database.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { VolumeEngine } from "../volume/engine.ts";
import { forkVolume } from "../volume/fork.ts";
import { exportVolume } from "./export-volume.ts";
import { readArchive, writeArchive, type Section } from "./format.ts";
import { importVolume, takeSprite } from "./import-volume.ts";

let directory = "";
let store: ObjectStore;
let elsewhere: ObjectStore;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-archive-"));
  store = await DirectoryObjectStore.open(join(directory, "bucket"));
  elsewhere = await DirectoryObjectStore.open(join(directory, "elsewhere"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const scratchDirectory = (): string => join(directory, "scratch");

function open(name: string, from: ObjectStore): Promise<VolumeEngine> {
  return VolumeEngine.open({
    ...{ store: from, prefix: `sprites/${name}`, sizeBytes: 64 * unitSizeBytes, readOnly: false },
    ...{ cacheDirectory: mkdtempSync(join(directory, "cache-")), cacheSizeBytesMax: 2 ** 30 },
    ...{ syncIntervalMs: 5, retryMsMin: 5, onProblem: () => undefined },
  });
}

async function write(engine: VolumeEngine, unit: number, value: number): Promise<void> {
  await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, value));
  await engine.sync();
}

async function read(engine: VolumeEngine): Promise<number[]> {
  const bytes = await engine.live.read(0, 4 * unitSizeBytes);
  return [0, 1, 2, 3].map((unit) => bytes[unit * unitSizeBytes] ?? -1);
}

async function exported(name: string, from = store): Promise<Buffer> {
  const prefix = `sprites/${name}`;
  const sprite = { name };
  const pieces = exportVolume({
    store: from,
    prefix,
    sprite,
    scratchDirectory: scratchDirectory(),
  });
  return await buffer(pieces);
}

async function* inPieces(bytes: Uint8Array, sizeBytes = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

async function imported(archive: Uint8Array, name: string): Promise<void> {
  const sections = readArchive(inPieces(archive));
  await takeSprite(sections);
  const prefix = `sprites/${name}`;
  await importVolume({ store: elsewhere, prefix, sections, scratchDirectory: scratchDirectory() });
}

async function keysElsewhere(): Promise<string[]> {
  return (await all(elsewhere.list(""))).map(({ key }) => key);
}

/** Two checkpoints, one of which shares nothing with the live disk. */
async function makeSource(): Promise<void> {
  const engine = await open("source", store);
  for (const unit of [0, 1, 2]) await write(engine, unit, 10 + unit);
  await (
    await engine.beginCheckpoint({ comment: "first", isAuto: false })
  ).completed;
  await write(engine, 1, 77);
  await engine.markFormatted();
  await engine.close({ discard: false });
}

test("disk and checkpoints come back from the file alone, and go on from there", async () => {
  await makeSource();
  const archive = await exported("source");
  await imported(archive, "copy");
  const copy = await open("copy", elsewhere);
  assert.deepEqual(await read(copy), [10, 77, 12, 0]);
  assert.ok(copy.formatted);
  assert.partialDeepStrictEqual(copy.listCheckpoints(), [{ id: "v0", comment: "first" }]);
  await copy.restore("v0");
  assert.deepEqual(await read(copy), [10, 11, 12, 0]);
  await write(copy, 3, 5);
  await copy.close({ discard: false });
  const again = await open("copy", elsewhere);
  assert.deepEqual(await read(again), [10, 11, 12, 5]);
  await again.close({ discard: false });
  await assert.rejects(imported(archive, "copy"), { code: "already_exists" });
});

test("a running volume is exported as the bucket has it, a fork with what it shares", async () => {
  await makeSource();
  const scratch = { scratchDirectory: scratchDirectory(), checkpoint: null };
  const prefixes = { from: "sprites/source", to: "sprites/fork", forkId: "fork" };
  await forkVolume({ store, ...prefixes, ...scratch });
  const fork = await open("fork", store);
  await write(fork, 0, 99);
  await imported(await exported("fork"), "copy");
  await fork.close({ discard: false });
  const copy = await open("copy", elsewhere);
  assert.deepEqual(await read(copy), [99, 77, 12, 0]);
  await copy.close({ discard: false });
});

test("a damaged archive is refused wherever the damage is, and leaves nothing", async () => {
  await makeSource();
  const archive = await exported("source");
  const before = await keysElsewhere();
  const step = Math.ceil(archive.length / 150);
  for (let at = 0; at < archive.length; at += at < 600 ? 7 : step) {
    const flipped = Buffer.from(archive);
    flipped[at] = (flipped[at] ?? 0) ^ 0x10;
    await assert.rejects(imported(flipped, "copy"), { code: "invalid_request" }, `byte ${at}`);
    const cut = archive.subarray(0, at);
    await assert.rejects(imported(cut, "copy"), { code: "invalid_request" }, `cut at ${at}`);
  }
  const longer = Buffer.concat([archive, Buffer.alloc(1)]);
  await assert.rejects(imported(longer, "copy"), { code: "invalid_request" });
  assert.deepEqual(await keysElsewhere(), before);
});

test("sections that are left out, repeated or unknown are refused", async () => {
  await makeSource();
  const sections = await all(readArchive(inPieces(await exported("source"))));
  const repacked = async (change: (sections: Section[]) => Section[]): Promise<Buffer> =>
    await buffer(writeArchive(toAsync(change([...sections]))));
  const without = await repacked((all) => all.slice(0, -1));
  await assert.rejects(imported(without, "copy"), /lacks segment/);
  const twice = await repacked((all) => [...all, ...all.slice(-1)]);
  await assert.rejects(imported(twice, "copy"), /too many/);
  const later = { kind: "memory", name: "", bytes: Buffer.from("x") };
  await assert.rejects(imported(await repacked((all) => [...all, later]), "copy"), /memory/);
  const other = await repacked((all) =>
    all.map((section) =>
      section.kind === "segment" ? { ...section, bytes: section.bytes.toReversed() } : section,
    ),
  );
  await assert.rejects(imported(other, "copy"), /checksum does not match/);
  assert.deepEqual(await keysElsewhere(), []);
});

/** The archive with its map changed by whoever made it, and all else in order. */
async function withMap(archive: Uint8Array, sql: string): Promise<Buffer> {
  const sections = await all(readArchive(inPieces(archive)));
  const path = join(directory, "crafted.db");
  const parts = sections.filter(({ kind }) => kind === "map").map(({ bytes }) => bytes);
  rmSync(path, { force: true });
  writeFileSync(path, Buffer.concat(parts));
  const database = Database.open(path);
  database.execute(sql);
  database.close();
  const map = { kind: "map", name: "0", bytes: readFileSync(path) };
  // Segments of others are left out, as the map would have it.
  const isOwn = !sql.includes("SET owner");
  const others = sections.filter(({ kind }) => kind !== "map" && (isOwn || kind !== "segment"));
  const crafted = [...others.slice(0, 1), map, ...others.slice(1)];
  return await buffer(writeArchive(toAsync(crafted)));
}

test("a map that reaches beyond its own volume is refused, and leaves nothing", async () => {
  await makeSource();
  const archive = await exported("source");
  const given = (owner: string): string =>
    `UPDATE segment SET owner = '${owner}';
     UPDATE attribute SET value = (SELECT value FROM attribute WHERE name = 'namedBytes')
       WHERE name = 'foreignBytes';
     UPDATE attribute SET value = 0 WHERE name = 'namedBytes'`;
  const crafted = {
    "segments of another sprite": given("sprites/victim"),
    "segments of no sprite": given("../.."),
    "a checkpoint whose name is a path": "UPDATE file SET name = '../../../etc' WHERE id = 2",
    "a checkpoint with the name of the live file": "UPDATE file SET name = 'Live' WHERE id = 2",
    "a file of its own kind": "UPDATE file SET kind = 'live' WHERE id = 2",
    "a descent that goes round": "UPDATE file SET source = 2 WHERE id = 2",
    "a time that is none": `UPDATE file SET create_time_ms = ${2 ** 60} WHERE id = 2`,
    "a key of any length": "UPDATE segment SET suffix = zeroblob(5000)",
    "a size that takes all memory": `UPDATE attribute SET value = ${2 ** 52} WHERE name = 'sizeBytes'`,
    "a size that is a text": "UPDATE attribute SET value = 'x' WHERE name = 'sizeBytes'",
    "a leaf behind the end": "UPDATE root SET leaf_index = 99",
    "what a volume keeps for itself": "INSERT INTO attribute VALUES ('volume.cacheId', 'x')",
    "a trigger": "CREATE TRIGGER t AFTER UPDATE ON segment BEGIN DELETE FROM root; END",
    "a view": "CREATE VIEW v AS SELECT 1",
    "an index": "CREATE INDEX i ON leaf (generation)",
    "a table more": "CREATE TABLE t (x)",
    "a column more": "ALTER TABLE leaf ADD COLUMN x INTEGER",
    "no flag that guards the format": "DROP TRIGGER formatted_stays_when_deleted",
  };
  for (const [what, sql] of Object.entries(crafted)) {
    const bytes = await withMap(archive, sql);
    await assert.rejects(imported(bytes, "copy"), { code: "invalid_request" }, what);
  }
  assert.deepEqual(await keysElsewhere(), []);
  await imported(await withMap(archive, "SELECT 1"), "copy");
});

test("a map without an end is refused before it fills the disk", async () => {
  async function* endless(): AsyncGenerator<Section> {
    const bytes = Buffer.alloc(1024 * 1024);
    for (let part = 0; ; part++) {
      assert.ok(part < 4, "nobody takes more than may be");
      yield { kind: "map", name: String(part), bytes };
    }
  }
  const options = { store: elsewhere, prefix: "sprites/copy", sections: endless() };
  const limited = {
    ...options,
    scratchDirectory: scratchDirectory(),
    mapSizeBytesMax: 2 * 2 ** 20,
  };
  await assert.rejects(importVolume(limited), { code: "invalid_request" });
});

test("a segment that is damaged in the bucket is not exported", async () => {
  await makeSource();
  for await (const { key, sizeBytes } of store.list("sprites/source/data/")) {
    await store.put(key, Buffer.alloc(sizeBytes, 1));
  }
  await assert.rejects(exported("source"), { code: "storage_failure", message: /damaged/ });
  for await (const { key } of store.list("sprites/source/data/")) {
    await store.put(key, Buffer.alloc(4096));
  }
  const another = "the bucket has segment .* in another size";
  await assert.rejects(exported("source"), {
    code: "storage_failure",
    message: new RegExp(another),
  });
});

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of source) values.push(value);
  return values;
}

async function* toAsync<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}
