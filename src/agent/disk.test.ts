import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { pino } from "pino";
import { HostError } from "../host/command.ts";
import type { HostHelper } from "../host/host-helper.ts";
import type { PendingCheckpoint, Volume } from "../storage/volume/volume.ts";
import { Disk } from "./disk.ts";
import { ShownCheckpoints } from "./shown-checkpoints.ts";

interface Faults {
  freezeFails: boolean;
  /** The watchdog was faster. */
  thawedBefore: boolean;
}

/** A disk that is attached to nothing real: only the order of its steps counts here. */
async function attachedDisk(faults: Faults): Promise<{
  disk: Disk;
  steps: string[];
  /** That of an agent which takes over. */
  next: () => Disk;
}> {
  const steps: string[] = [];
  const helper = {
    run: (operation: { type: string }) => Promise.resolve(void steps.push(operation.type)),
    attachLoop: () => Promise.resolve("/dev/loop-none"),
    releaseLoop: () => Promise.resolve(),
    freeze: () => {
      steps.push("freeze");
      const error = new HostError("deadline_exceeded", "freeze did not end", { command: "freeze" });
      return faults.freezeFails ? Promise.reject(error) : Promise.resolve();
    },
    thaw: () => {
      steps.push("thaw");
      return Promise.resolve(!faults.thawedBefore);
    },
  } as unknown as HostHelper;
  const volume = {
    formatted: true,
    onProblem: () => undefined,
    mount: () => Promise.resolve(),
    sync: () => Promise.resolve(),
    beginCheckpoint: () => {
      steps.push("cut");
      return Promise.resolve({} as PendingCheckpoint);
    },
  } as unknown as Volume;
  const runDirectory = mkdtempSync(join(tmpdir(), "disk-"));
  after(() => rmSync(runDirectory, { recursive: true, force: true }));
  const shown = new ShownCheckpoints({ volume, runDirectory });
  const log = pino({ level: "silent" });
  const disk = new Disk({ volume, helper, shown, runDirectory, log });
  await disk.attach();
  steps.length = 0;
  const next = (): Disk => new Disk({ volume, helper, shown, runDirectory, log });
  return { disk, steps, next };
}

const checkpoint = { comment: "", isAuto: false };

test("the cut lies between freeze and thaw", async () => {
  const { disk, steps } = await attachedDisk({ freezeFails: false, thawedBefore: false });
  const { isClean } = await disk.checkpoint(checkpoint);
  assert.ok(isClean);
  assert.deepEqual(steps, ["sync_file_system", "freeze", "cut", "thaw"]);
});

test("a file system that does not freeze is cut all the same, and the checkpoint says so", async () => {
  const { disk, steps } = await attachedDisk({ freezeFails: true, thawedBefore: false });
  const { isClean } = await disk.checkpoint(checkpoint);
  assert.ok(!isClean);
  assert.deepEqual(steps, ["sync_file_system", "freeze", "freeze", "cut"]);
});

test("a cut that came after the watchdog's thaw is not called clean", async () => {
  const { disk } = await attachedDisk({ freezeFails: false, thawedBefore: true });
  assert.ok(!(await disk.checkpoint(checkpoint)).isClean);
});

test("who takes over thaws only what was being frozen", async () => {
  const { disk, steps, next } = await attachedDisk({ freezeFails: false, thawedBefore: false });
  await next().adopt();
  assert.deepEqual(steps, []);
  await disk.checkpoint(checkpoint);
  await next().adopt();
  assert.deepEqual(steps, ["sync_file_system", "freeze", "cut", "thaw"]);
  const killed = await attachedDisk({ freezeFails: true, thawedBefore: false });
  await killed.disk.checkpoint(checkpoint);
  await killed.next().adopt();
  assert.deepEqual(killed.steps, ["sync_file_system", "freeze", "freeze", "cut", "thaw"]);
});
