/** Against superblocks that mkfs.ext4 wrote. */
import assert from "node:assert/strict";
import { mkdtemp, open, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { formatExt4 } from "../host/ext4.ts";
import {
  parseSuperblock,
  superblockOffsetBytes,
  superblockProblem,
  superblockSizeBytes,
} from "./ext4-superblock.ts";

const sizeBytes = 2 ** 30;
let directory: string;
let superblock: Buffer;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "opensprites-superblock-"));
  const path = join(directory, "disk");
  await (await open(path, "wx")).close();
  await truncate(path, sizeBytes);
  await formatExt4(path, { label: "sprite" });
  await using file = await open(path);
  superblock = Buffer.alloc(superblockSizeBytes);
  await file.read(superblock, 0, superblockSizeBytes, superblockOffsetBytes);
});
after(() => rm(directory, { recursive: true, force: true }));

/** The problem of the superblock after a change. */
function problemAfter(change: (bytes: Buffer) => void): string | null {
  const bytes = Buffer.from(superblock);
  change(bytes);
  return superblockProblem(bytes, sizeBytes);
}

test("what mkfs makes is in order, and is read as it is", () => {
  assert.equal(superblockProblem(superblock, sizeBytes), null);
  assert.deepEqual(parseSuperblock(superblock), {
    blockSizeBytes: 4096,
    sizeBytes,
    needsRecovery: false,
    hasErrors: false,
  });
});

test("each thing that keeps a file system from being mounted is named", () => {
  assert.match(problemAfter((bytes) => bytes.fill(0)) ?? "", /no ext4/);
  assert.match(problemAfter((bytes) => bytes.writeUInt32LE(0xffffffff, 0x60)) ?? "", /features/);
  assert.match(problemAfter((bytes) => bytes.writeUInt32LE(0, 0x5c)) ?? "", /no journal/);
  assert.match(problemAfter((bytes) => bytes.writeUInt16LE(0xff, 0x3a)) ?? "", /state/);
  assert.match(problemAfter((bytes) => bytes.writeUInt32LE(9, 0x18)) ?? "", /block size/);
  assert.match(problemAfter((bytes) => bytes.writeUInt32LE(0, 0x4)) ?? "", /no blocks/);
  assert.match(superblockProblem(superblock, sizeBytes - 4096) ?? "", /does not fit/);
  assert.match(superblockProblem(superblock.subarray(0, 100), sizeBytes) ?? "", /read whole/);
});

test("a journal with changes and a file system with errors are seen", () => {
  const bytes = Buffer.from(superblock);
  bytes.writeUInt32LE(bytes.readUInt32LE(0x60) | 4, 0x60);
  bytes.writeUInt16LE(3, 0x3a);
  assert.equal(superblockProblem(bytes, sizeBytes), null);
  assert.partialDeepStrictEqual(parseSuperblock(bytes), { needsRecovery: true, hasErrors: true });
});
