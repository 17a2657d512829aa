import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LocalRecord, type LocalState } from "./local-state.ts";

const state: LocalState = {
  formatVersion: 1,
  prefix: "sprites/a",
  cacheId: "0".repeat(32),
  writers: ["0123456789abcdef"],
  generation: 3,
  head: null,
  txid: 7,
  syncedCut: 5,
  wal: null,
  isClean: false,
  isHydrating: false,
  mapCheck: null,
};
const later = {
  txid: 9,
  syncedCut: 6,
  wal: {
    ...{ txid: 9, pageSizeBytes: 4096, commitPages: 12, isFolded: true, log: null },
    file: { inode: "1", sizeBytes: 49_152, modifiedAtNs: "2", changedAtNs: "3" },
  },
} as unknown as Pick<LocalState, "txid" | "syncedCut" | "wal">;

test("no changed byte of what a machine knows of its copy is believed", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "local-state-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const record = new LocalRecord(directory, state);
  await record.save({});
  await record.saveProgress(later);
  const whole = { ...state, ...later };
  const read = (): unknown => LocalRecord.read(directory, state.prefix)?.state ?? null;
  assert.deepEqual(pick(read()), pick(whole));
  for (const [name, without] of [
    ["local.json", null],
    ["progress.json", state],
  ] as const) {
    const path = join(directory, name);
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 2, at);
      writeFileSync(path, damaged);
      const found = pick(read());
      // The new line at the end says nothing.
      const isHarmless =
        at === bytes.length - 1 && JSON.stringify(found) === JSON.stringify(pick(whole));
      if (!isHarmless) assert.deepEqual(found, pick(without), `${name}, byte ${at}`);
    }
    writeFileSync(path, bytes);
  }
});

test("what could not be kept is not known either: the next attempt begins where the disk is", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "local-state-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const record = new LocalRecord(directory, state);
  await record.save({});
  // As on a full disk.
  mkdirSync(join(directory, "local.json.new"));
  await assert.rejects(record.save({ generation: state.generation + 1 }));
  assert.equal(record.state.generation, state.generation);
  rmdirSync(join(directory, "local.json.new"));
  await record.save({ generation: state.generation + 1 });
  assert.equal(LocalRecord.read(directory, state.prefix)?.state.generation, state.generation + 1);
});

/** Without the cache's id, which progress.json holds once more. */
function pick(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}
