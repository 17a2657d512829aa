import assert from "node:assert/strict";
import { test } from "node:test";
import type { CheckpointRecord } from "../storage/volume/volume.ts";
import { undoAgeMsMax } from "./limits.ts";
import { stateBeforeRestore } from "./restore-undo.ts";

function record(id: string, part: Partial<CheckpointRecord>): CheckpointRecord {
  return {
    ...{ id, createTimeMs: 0, comment: "", isAuto: false, isPreRestore: false, sourceId: null },
    ...{ history: [], health: "" as const, cut: 1, sizeBytes: 0, uniqueBytes: 0 },
    ...part,
  };
}

function before(restoredId: string, createTimeMs: number): CheckpointRecord {
  const comment = `before restore of ${restoredId}`;
  const id = `auto-${createTimeMs}`;
  return record(id, { comment, isAuto: true, isPreRestore: true, createTimeMs });
}

const undo = (records: CheckpointRecord[], sourceId: string | null, nowMs = 10): string =>
  stateBeforeRestore(records, { sourceId, nowMs }).id;

test("the newest state before a restore is what an undo goes back to, and an undo can be undone", () => {
  const v0 = record("v0", {});
  assert.equal(undo([v0, before("v0", 1)], "v0"), "auto-1");
  assert.equal(undo([v0, before("v0", 1), before("auto-1", 2)], "auto-1"), "auto-2");
});

test("a restore that failed and went back is not undone", () => {
  const records = [record("v0", {}), before("v0", 1), before("v0", 2)];
  assert.equal(undo(records, "auto-2"), "auto-1");
  const later = record("v1", { history: ["auto-2"] });
  assert.equal(undo([...records, later], "v1"), "auto-1");
});

test("without a restore, or a day after it, there is nothing to undo", () => {
  const other = record("auto-1", { isAuto: true, comment: "before repair" });
  assert.throws(() => undo([other, record("v0", {})], "v0"), { code: "not_found" });
  const mine = record("v0", { comment: "before restore of v1" });
  assert.throws(() => undo([mine], null), { code: "not_found" }, "a user's own comment is no mark");
  assert.throws(() => undo([before("v0", 1)], "v0", undoAgeMsMax + 2), /more than a day ago/);
});
