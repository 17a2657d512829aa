/** Real damage to a real ext4 on a real volume. */
import assert from "node:assert/strict";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { createLog } from "../base/log.ts";
import { SpriteError } from "../contract/errors.ts";
import { runCommand } from "../host/command.ts";
import { createHostHelper, type HostHelper } from "../host/host-helper.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { Disk } from "./disk.ts";
import { ShownCheckpoints } from "./shown-checkpoints.ts";

const log = createLog({ level: "silent", room: "test" });
const deadlineMs = 20_000;
const blockSizeBytes = 4096;
/** Where mkfs puts the one spare superblock: the first block of the second group. */
const spareSuperblock = 32_768;

let directory: string;
let helper: HostHelper;
let volume: Volume;
let disk: Disk;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "opensprites-mount-"));
  await mkdir(join(directory, "bucket"));
  helper = createHostHelper(log);
  volume = await openVolume({
    bucket: join(directory, "bucket"),
    prefix: "sprites/test",
    cacheDirectory: join(directory, "cache"),
    cacheSizeBytesMax: 2 ** 32,
    sizeBytes: 2 ** 30,
    readOnly: false,
    syncIntervalMs: 200,
  });
  const shown = new ShownCheckpoints({ volume, runDirectory: directory });
  disk = new Disk({ volume, helper, shown, runDirectory: directory, log });
  await disk.open();
  await disk.attach();
  await writeFile(join(disk.directory, "precious"), "kept");
});
afterEach(async () => {
  await disk.close({ discard: true });
  await helper.close();
  await rm(directory, { recursive: true, force: true });
});

const liveFile = (): string => join(directory, "fuse/live");

/** Overwrites a few bytes of the detached disk with zeros. */
async function damage(offsetBytes: number, lengthBytes: number): Promise<void> {
  await disk.detach();
  const place = [`seek=${offsetBytes}`, `count=${lengthBytes}`, "oflag=seek_bytes"];
  const args = ["if=/dev/zero", `of=${liveFile()}`, "conv=notrunc", "iflag=count_bytes", ...place];
  await runCommand("dd", args, { deadlineMs });
}

async function precious(): Promise<string> {
  return await readFile(join(disk.directory, "precious"), "utf8");
}

async function refusal(work: Promise<unknown>): Promise<SpriteError> {
  const error: unknown = await work.then(
    () => null,
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof SpriteError, String(error));
  assert.equal(error.code, "start_failed");
  return error;
}

async function keptIds(): Promise<string[]> {
  return (await volume.listCheckpoints())
    .filter(({ comment }) => comment === "before repair")
    .map(({ id }) => id);
}

test("damaged group descriptors are repaired without being asked, and what was is kept", async () => {
  await damage(blockSizeBytes + 30, 2);
  await disk.attach();
  assert.equal(await precious(), "kept");
  const [kept, ...others] = await keptIds();
  assert.ok(kept !== undefined && others.length === 0);
  await assert.rejects(disk.verify(kept), { code: "storage_failure" }, "it is the damaged one");
});

test("a zeroed superblock is never formatted over: the start is refused with choices", async () => {
  const { pending } = await disk.checkpoint({ comment: "", isAuto: false });
  await pending.completed;
  await damage(0, blockSizeBytes);
  const error = await refusal(disk.attach());
  assert.match(error.message, /damaged.*sprite repair.*sprite restore.*v\d/);
  assert.partialDeepStrictEqual(error.details, { choices: ["repair", "restore"] });
  const again = await refusal(disk.attach());
  assert.match(again.message, /damaged/);
  assert.deepEqual(await keptIds(), [], "nothing was written, so there is nothing to keep");
  await disk.repair();
  assert.equal(await precious(), "kept", "the asked-for repair takes the spare superblock");
  assert.equal((await keptIds()).length, 1);
});

test("what no repair saves is as it was, and a checkpoint still brings it back", async () => {
  const { pending } = await disk.checkpoint({ comment: "", isAuto: false });
  const { id } = await pending.completed;
  await damage(0, blockSizeBytes);
  await damage(spareSuperblock * blockSizeBytes, blockSizeBytes);
  await refusal(disk.attach());
  await refusal(disk.repair());
  await disk.verify(id);
  await disk.replace(id);
  await disk.attachAsIs();
  assert.equal(await precious(), "kept");
});

test("a checkpoint of a damaged file system is not restored, one of a sound one is", async () => {
  const sound = await (await disk.checkpoint({ comment: "", isAuto: false })).pending.completed;
  await damage(0, blockSizeBytes);
  const empty = await disk.checkpointDetached("");
  await assert.rejects(disk.verify(empty.id), /no ext4 file system/);
  await disk.verify(sound.id);
  await disk.replace(sound.id);
  await damage(blockSizeBytes + 30, 2);
  const torn = await disk.checkpointDetached("");
  await assert.rejects(disk.verify(torn.id), /damaged/);
  await assert.rejects(disk.verify("v99"), { code: "not_found" });
});

test("what the kernel does at an error is not the disk's to say, which might name a panic of the host", async () => {
  await disk.detach();
  await runCommand("tune2fs", ["-e", "continue", liveFile()], { deadlineMs });
  await disk.attach();
  const mounts = await readFile("/proc/self/mounts", "utf8");
  const options = mounts.split("\n").find((line) => line.includes(` ${disk.directory} `));
  assert.match(options ?? "", /errors=remount-ro/);
});
