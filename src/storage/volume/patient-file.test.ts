import assert from "node:assert/strict";
import { test } from "node:test";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockFile } from "../fuse/fuse-server.ts";
import { AttemptError } from "../object-store/s3/retries.ts";
import { readPatienceMs } from "./limits.ts";
import { PatientFile } from "./patient-file.ts";

const content = Uint8Array.of(1, 2, 3);

/** The file's reads fail with these, one after the other, and then succeed. */
function failing(errors: Error[]): BlockFile {
  const nothing = (): Promise<void> => Promise.resolve();
  return {
    ...{ sizeBytes: 3, isWritable: true, write: nothing, punch: nothing, flush: nothing },
    read: () => {
      const error = errors.shift();
      return error === undefined ? Promise.resolve(content) : Promise.reject(error);
    },
  };
}

function storeFailure(isRetryable: boolean): Error {
  const cause = new AttemptError("socket hang up", { isRetryable });
  return new SpriteError("storage_failure", "get part of object", { cause });
}

const atOnce = (): Promise<void> => Promise.resolve();

test("a read waits for a bucket that is away", async () => {
  const errors = Array.from({ length: 20 }, () => storeFailure(true));
  const file = new PatientFile(failing(errors), { wait: atOnce });
  assert.equal(await file.read(0, 3), content);
});

test("a read waits for no longer than it may", async () => {
  let waitedMs = 0;
  const wait = (ms: number): Promise<void> => {
    waitedMs += ms;
    return Promise.resolve();
  };
  const errors = Array.from({ length: 1_000 }, () => storeFailure(true));
  const file = new PatientFile(failing(errors), { wait });
  await assert.rejects(file.read(0, 3), { message: "get part of object" });
  assert.ok(waitedMs >= readPatienceMs && waitedMs < 2 * readPatienceMs);
});

test("nobody waits for what does not come", async () => {
  const wait = (): Promise<void> => Promise.reject(new Error("it waits"));
  for (const error of [
    storeFailure(false),
    new SpriteError("storage_failure", "the segment is damaged"),
  ]) {
    const file = new PatientFile(failing([error]), { wait });
    await assert.rejects(file.read(0, 3), error);
  }
});

test("when the guest has ended, those who wait hear of the failure", async () => {
  const errors = [storeFailure(true), storeFailure(true), storeFailure(true)];
  const file = new PatientFile(failing(errors), { wait: () => new Promise(() => undefined) });
  const reading = file.read(0, 3);
  await Promise.resolve();
  file.isPatient = false;
  await assert.rejects(reading, { message: "get part of object" });
  file.isPatient = true;
  errors.length = 0;
  assert.equal(await file.read(0, 3), content);
});
