import assert from "node:assert/strict";
import { mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { formatExt4 } from "../host/ext4.ts";
import type { HostHelper } from "../host/host-helper.ts";
import { superblockOffsetBytes } from "./ext4-superblock.ts";
import { mountStill } from "./still-mount.ts";

let directory: string;
let backingFile: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "opensprites-still-"));
  backingFile = join(directory, "disk");
  await writeFile(backingFile, "");
  await truncate(backingFile, 2 ** 28);
  await formatExt4(backingFile, { label: "sprite" });
});
after(() => rm(directory, { recursive: true, force: true }));

/** As the kernel sets it while a file system is mounted, and clears it when that is frozen or unmounted. */
async function setFlag(offset: number, flag: number, isSet: boolean): Promise<void> {
  await using file = await open(backingFile, "r+");
  const position = superblockOffsetBytes + offset;
  const bytes = Buffer.alloc(4);
  await file.read(bytes, 0, 4, position);
  const others = bytes.readUInt32LE() & ~flag;
  bytes.writeUInt32LE(isSet ? others | flag : others);
  await file.write(bytes, 0, 4, position);
}

/** What the helper was asked for, or why nothing was. */
async function attempt(toleratesErrors: boolean): Promise<string[]> {
  const asked: string[] = [];
  const helper: Pick<HostHelper, "attachLoop" | "releaseLoop" | "run"> = {
    attachLoop: async () => "/dev/loop0",
    releaseLoop: async () => undefined,
    run: async (operation) => void asked.push(operation.type),
  };
  const mount = { backingFile, target: directory, toleratesErrors };
  const refusal = (reason: string): Error => new Error(reason);
  return await mountStill(helper as HostHelper, mount, refusal).then(
    () => asked,
    (error: Error) => [...asked, error.message],
  );
}

test("a file system whose journal holds something is not looked at without it", async () => {
  await setFlag(0x60, 4, true);
  assert.deepEqual(await attempt(true), ["its file system was not at rest"]);
  await setFlag(0x60, 4, false);
  assert.deepEqual(await attempt(true), ["mount"]);
});

test("one with errors is shown to whoever takes what can be read", async () => {
  await setFlag(0x3a, 2, true);
  assert.deepEqual(await attempt(false), ["its file system has errors"]);
  assert.deepEqual(await attempt(true), ["mount"]);
  await setFlag(0x3a, 2, false);
});

test("what is no file system is refused", async () => {
  const path = backingFile;
  backingFile = join(directory, "none");
  await writeFile(backingFile, Buffer.alloc(8192));
  assert.deepEqual(await attempt(true), ["there is no ext4 file system in it"]);
  backingFile = path;
});
