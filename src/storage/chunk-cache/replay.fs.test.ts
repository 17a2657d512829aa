import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { replayLog, type ReplayOutcome } from "./replay.ts";
import {
  checkRecord,
  decodeHeader,
  encodeHeader,
  encodeRecord,
  headerSizeBytes,
  type LogRecord,
  recordSeed,
  recordSizeBytes,
  recordType,
} from "./residency-log.ts";
import { SharedState } from "./shared-state.ts";

const unitCount = 4;
const generation = 3;
const directory = mkdtempSync(join(tmpdir(), "opensprites-replay-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const header = encodeHeader({
  bootId: "11111111-2222-3333-4444-555555555555",
  volumeId: "0123456789abcdef0123456789abcdef",
  unitCount,
  blocksInode: 7,
  generation,
});

const unit = (value: number, valid: number, dirty: number): LogRecord => ({
  type: recordType.unit,
  value,
  valid,
  dirty,
});
const mark = (type: number, value: number): LogRecord => ({ type, value, valid: 0, dirty: 0 });

/** Units 0 and 1 are in the map, 2 and 3 are not. */
const records: LogRecord[] = [
  unit(0, 0x00ff, 0x0000),
  checkRecord(0, 0x8123_4567),
  unit(1, 0xffff, 0x0003),
  mark(recordType.flushed, 3),
  unit(2, 0xffff, 0x0001),
  mark(recordType.cutBegun, 1),
  unit(1, 0xffff, 0x0010),
  mark(recordType.flushed, 7),
  mark(recordType.cutCommitted, 1),
  unit(0, 0x00ff, 0x0101),
  unit(0, 0x01ff, 0x0101),
  mark(recordType.cutBegun, 2),
  unit(3, 0xffff, 0x8000),
  mark(recordType.flushed, 13),
  unit(1, 0x0000, 0x0000),
];

function encodeLog(): Buffer {
  const bytes = Buffer.alloc(headerSizeBytes + records.length * recordSizeBytes);
  header.copy(bytes);
  for (const [index, record] of records.entries()) {
    encodeRecord(
      bytes,
      headerSizeBytes + index * recordSizeBytes,
      recordSeed(generation, index),
      record,
    );
  }
  return bytes;
}

interface UnitState {
  valid: number;
  dirty: number;
}

/** The rules of ARCHITECTURE.md section 4, written down the slow way. */
function expectedState(count: number, options: { lastCut: number }): UnitState[] {
  const units = Array.from({ length: unitCount }, () => ({
    valid: 0,
    dirty: 0,
    cut: 0,
    isChecked: false,
  }));
  let running = 0;
  for (const { type, value, valid, dirty } of records.slice(0, count)) {
    const found = units[value];
    if (type === recordType.unit && found !== undefined) {
      Object.assign(found, { valid, dirty, isChecked: false });
    }
    if (type === recordType.checked && found !== undefined) found.isChecked = true;
    if (type === recordType.cutBegun) {
      for (const each of units) Object.assign(each, { cut: each.cut | each.dirty, dirty: 0 });
      running = value;
    }
    if (type === recordType.cutCommitted) for (const each of units) each.cut = 0;
  }
  return units.map((each, index) => {
    const cut = running <= options.lastCut ? 0 : each.cut;
    const isMapped = index < 2;
    const dirty = (each.dirty | cut) & (isMapped ? each.valid : 0xffff);
    if (!isMapped) return { valid: dirty === 0 ? 0 : 0xffff, dirty };
    return { valid: dirty === 0 && each.isChecked ? each.valid : dirty, dirty };
  });
}

function replay(
  bytes: Uint8Array,
  options: { sameBoot: boolean; lastCut: number },
): { outcome: ReplayOutcome; units: UnitState[] } {
  const path = join(directory, "log");
  writeFileSync(path, bytes);
  const descriptor = openSync(path, "r");
  const state = SharedState.allocate(unitCount * 65_536);
  state.setMapped(0, true);
  state.setMapped(1, true);
  try {
    const outcome = replayLog({ descriptor, atBytes: 0, generation }, state, options);
    const units = Array.from({ length: unitCount }, (_, index) => ({
      valid: state.valid(index),
      dirty: state.dirty(index),
    }));
    return { outcome, units };
  } finally {
    closeSync(descriptor);
  }
}

function assertReplayed(outcome: ReplayOutcome, records: number): void {
  assert.ok(outcome.kind === "replayed");
  assert.equal(outcome.records, records);
}

/** Records that a flush marker before the given count covers; null when no marker is left. */
function covered(count: number): number | null {
  const markers = records
    .slice(0, count)
    .filter(({ type }) => type === recordType.flushed)
    .map(({ value }) => value);
  return markers.at(-1) ?? null;
}

for (const lastCut of [0, 1, 2]) {
  test(`a log cut short at any byte counts up to its last whole record (cut ${lastCut})`, () => {
    const log = encodeLog();
    for (let length = headerSizeBytes; length <= log.length; length++) {
      const count = Math.floor((length - headerSizeBytes) / recordSizeBytes);
      const same = replay(log.subarray(0, length), { sameBoot: true, lastCut });
      assertReplayed(same.outcome, count);
      assert.deepEqual(same.units, expectedState(count, { lastCut }));

      const other = replay(log.subarray(0, length), { sameBoot: false, lastCut });
      const kept = covered(count);
      if (kept === null) {
        assert.equal(other.outcome.kind, "damaged");
      } else {
        assertReplayed(other.outcome, kept);
        assert.deepEqual(other.units, expectedState(kept, { lastCut }));
      }
    }
  });
}

test("a log with any byte changed is set aside, or counts up to the change", () => {
  const log = encodeLog();
  for (let at = headerSizeBytes; at < log.length; at++) {
    const bytes = Buffer.from(log);
    bytes.writeUInt8((bytes.readUInt8(at) ^ 0x41) & 0xff, at);
    const index = Math.floor((at - headerSizeBytes) / recordSizeBytes);
    const same = replay(bytes, { sameBoot: true, lastCut: 0 });
    if (index === records.length - 1) {
      assertReplayed(same.outcome, index);
      assert.deepEqual(same.units, expectedState(index, { lastCut: 0 }));
    } else {
      assert.equal(same.outcome.kind, "damaged", `byte ${at}`);
    }
    const other = replay(bytes, { sameBoot: false, lastCut: 0 });
    const kept = covered(index);
    if (kept === null) {
      assert.equal(other.outcome.kind, "damaged", `byte ${at}`);
    } else {
      assertReplayed(other.outcome, kept);
      assert.deepEqual(other.units, expectedState(kept, { lastCut: 0 }));
    }
  }
});

test("a header with any byte changed, or cut short, is none", () => {
  assert.equal(decodeHeader(header)?.unitCount, unitCount);
  for (let at = 0; at < 100; at++) {
    const bytes = Buffer.from(header);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 0x41, at);
    assert.equal(decodeHeader(bytes), null, `byte ${at}`);
  }
  assert.equal(decodeHeader(header.subarray(0, headerSizeBytes - 1)), null);
});

test("an interrupted restore makes the log worthless", () => {
  const bytes = Buffer.alloc(headerSizeBytes + 2 * recordSizeBytes);
  const place = headerSizeBytes + recordSizeBytes;
  encodeRecord(bytes, headerSizeBytes, recordSeed(generation, 0), unit(0, 0xffff, 0));
  encodeRecord(bytes, place, recordSeed(generation, 1), mark(recordType.restoreBegun, 0));
  assert.equal(replay(bytes, { sameBoot: true, lastCut: 0 }).outcome.kind, "damaged");
});

test("records of another log in the same place do not count", () => {
  const bytes = encodeLog();
  const length = headerSizeBytes + 5 * recordSizeBytes;
  // What was here before goes on behind where the new log has got to.
  for (const [index, record] of records.entries()) {
    const seed = recordSeed(index < 5 ? generation : generation - 1, index);
    encodeRecord(bytes, headerSizeBytes + index * recordSizeBytes, seed, record);
  }
  for (const sameBoot of [true, false]) {
    const options = { sameBoot, lastCut: 0 };
    const alone = replay(bytes.subarray(0, length), options);
    assert.deepEqual(replay(bytes, options), alone);
    assert.equal(alone.outcome.kind, "replayed");
  }
});
