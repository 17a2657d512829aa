import assert from "node:assert/strict";
import { test } from "node:test";
import { SpriteError } from "../contract/errors.ts";
import type { VolumeStatistics } from "../storage/volume/volume.ts";
import { syncObject } from "./sync-state.ts";

const fine = { problem: null, orphan: null };
const stored = { dirtyBytes: 0, lastCut: 7, syncedCut: 7, syncedAtMs: 1000 } as VolumeStatistics;

test("the disk is synced when nothing is dirty and the newest cut is in the bucket", () => {
  assert.deepEqual(syncObject(stored, fine), {
    synced: true,
    synced_at: "1970-01-01T00:00:01.000Z",
    unsynced_bytes: 0,
    sync_problem: null,
    fenced: false,
  });
  assert.ok(!syncObject({ ...stored, dirtyBytes: 4096 }, fine).synced);
  assert.ok(!syncObject({ ...stored, syncedCut: 6 }, fine).synced);
  assert.equal(syncObject({ ...stored, syncedAtMs: null }, fine).synced_at, null);
});

test("a bucket that refuses and a disk taken over are told apart", () => {
  const refusal = new SpriteError("storage_failure", "it refuses");
  const refused = syncObject(stored, { problem: refusal, orphan: null });
  assert.partialDeepStrictEqual(refused, { sync_problem: "it refuses", fenced: false });
  const details = { isFenced: true };
  const fence = new SpriteError("storage_failure", "taken", { details });
  const fenced = syncObject(stored, { problem: fence, orphan: "/cache/orphan-1" });
  assert.partialDeepStrictEqual(fenced, { synced: false, fenced: true, orphan: "/cache/orphan-1" });
});
