import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { SpriteError } from "../contract/errors.ts";
import type { CheckpointRecord } from "../storage/volume/volume.ts";
import type { Outlook } from "./file-system-check.ts";
import { mountOrRepair, repairThoroughly, type MountSteps } from "./mount-policy.ts";

const log = pino({ level: "silent" });

/** A disk that mounts in one of these states, and what was done to it. */
class FakeDisk implements MountSteps {
  readonly steps: string[] = [];
  readonly records: CheckpointRecord[] = [];
  source: string | null = null;
  outlooks: Outlook = "promising";
  /** The first mounts fail, as if a replay had been cut short. */
  failures = 0;
  repairs = new Set<string>();
  #isRight: boolean;

  constructor(isRight: boolean) {
    this.#isRight = isRight;
    this.addCheckpoint("v0", { comment: "", isAuto: false });
  }

  addCheckpoint(id: string, part: { comment: string; isAuto: boolean }): CheckpointRecord {
    const record = { id, createTimeMs: 0, ...part, sourceId: null, history: [], health: "" };
    this.records.unshift(record as unknown as CheckpointRecord);
    return record as unknown as CheckpointRecord;
  }

  async mount(): Promise<void> {
    this.steps.push("mount");
    if (!this.#isRight || this.failures-- > 0) throw new Error("bad superblock");
  }
  async outlook(): Promise<Outlook> {
    return this.outlooks;
  }
  async repair(repair: "safe" | "thorough"): Promise<void> {
    this.steps.push(repair);
    if (!this.repairs.has(repair)) throw new Error("exit 4");
    this.#isRight = true;
  }
  async keep(comment: string): Promise<CheckpointRecord> {
    this.steps.push("keep");
    const record = this.addCheckpoint(`auto-${this.records.length}`, { comment, isAuto: true });
    this.source = record.id;
    return record;
  }
  async goBack(id: string): Promise<void> {
    this.steps.push(`back to ${id}`);
    this.source = id;
  }
  async markUnmountable(id: string): Promise<void> {
    for (const record of this.records) if (record.id === id) record.health = "mount_failed";
  }
  async listCheckpoints(): Promise<CheckpointRecord[]> {
    return this.records;
  }
  async sourceId(): Promise<string | null> {
    return this.source;
  }
}

async function failureOf(work: Promise<unknown>): Promise<SpriteError> {
  const error = await work.then(
    () => null,
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof SpriteError);
  return error;
}

test("a mount that fails once is tried again, and nothing else is done", async () => {
  const disk = new FakeDisk(true);
  disk.failures = 1;
  await mountOrRepair(disk, log);
  assert.deepEqual(disk.steps, ["mount", "mount"]);
});

test("what a safe repair puts right starts by itself, and the state before is kept", async () => {
  const disk = new FakeDisk(false);
  disk.repairs.add("safe");
  await mountOrRepair(disk, log);
  assert.deepEqual(disk.steps, ["mount", "mount", "keep", "safe", "mount"]);
});

test("what it does not put right is as before, and the choices are said, newest first", async () => {
  const disk = new FakeDisk(false);
  disk.repairs.add("thorough");
  disk.addCheckpoint("v1", { comment: "", isAuto: false });
  const error = await failureOf(mountOrRepair(disk, log));
  assert.equal(error.code, "start_failed");
  assert.match(error.message, /sprite repair.*sprite restore.*v1 v0/);
  assert.deepEqual(error.details, { choices: ["repair", "restore"], checkpoints: ["v1", "v0"] });
  assert.deepEqual(disk.steps.slice(2), ["keep", "safe", "back to auto-2"]);
  assert.ok(!disk.steps.includes("thorough"), "it may lose files: it waits to be asked for");
  disk.steps.length = 0;
  await failureOf(mountOrRepair(disk, log));
  assert.deepEqual(disk.steps, ["mount", "mount"], "the next start does not keep it once more");
  await repairThoroughly(disk, log);
  assert.deepEqual(disk.steps.slice(2), ["keep", "thorough", "mount"]);
});

test("what a safe repair cannot begin with is offered at once", async () => {
  const disk = new FakeDisk(false);
  disk.outlooks = "hopeless";
  const error = await failureOf(mountOrRepair(disk, log));
  assert.deepEqual(error.details["choices"], ["repair", "restore"]);
  assert.deepEqual(disk.steps, ["mount", "mount"]);
});

test("a disk that cannot be read is not written to", async () => {
  const disk = new FakeDisk(false);
  disk.outlooks = "unreadable";
  disk.repairs.add("safe").add("thorough");
  assert.match((await failureOf(mountOrRepair(disk, log))).message, /cannot be read/);
  assert.match((await failureOf(repairThoroughly(disk, log))).message, /cannot be read/);
  assert.deepEqual(disk.steps, ["mount", "mount"]);
});

test("a thorough repair that fails goes back too", async () => {
  const disk = new FakeDisk(false);
  await failureOf(repairThoroughly(disk, log));
  assert.deepEqual(disk.steps, ["keep", "thorough", "back to auto-1"]);
});
