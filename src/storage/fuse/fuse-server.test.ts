import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FuseServer, nodeNumber, type BlockFile } from "./fuse-server.ts";
import { errno, inHeaderSizeBytes, liveNode, opcode, rootNode } from "./protocol.ts";

/** A file that remembers what was asked of it. */
class RecordingFile implements BlockFile {
  readonly sizeBytes = 65_536;
  readonly isWritable: boolean;
  readonly calls: string[] = [];

  constructor(isWritable: boolean) {
    this.isWritable = isWritable;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    this.calls.push(`read ${offsetBytes} ${lengthBytes}`);
    return new Uint8Array(lengthBytes).fill(7);
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    this.calls.push(`write ${offsetBytes} ${bytes.length}`);
    if (offsetBytes === 8_192) throw Object.assign(new Error("full"), { errno: -errno.ENOSPC });
  }

  async punch(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.calls.push(`punch ${offsetBytes} ${lengthBytes}`);
  }

  async flush(): Promise<void> {
    this.calls.push("flush");
  }
}

function request(operation: number, node: number, body: Uint8Array = new Uint8Array()): Uint8Array {
  const bytes = Buffer.alloc(inHeaderSizeBytes + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(operation, 4);
  bytes.writeBigUInt64LE(0xffff_ffff_0000_0007n, 8);
  bytes.writeBigUInt64LE(BigInt(node), 16);
  bytes.set(body, inHeaderSizeBytes);
  return bytes;
}

function io(offset: number, size: number, bytes = new Uint8Array()): Uint8Array {
  const body = Buffer.alloc(40 + bytes.length);
  body.writeBigUInt64LE(BigInt(offset), 8);
  body.writeUInt32LE(size, 16);
  body.set(bytes, 40);
  return body;
}

interface Reply {
  error: number;
  body: Buffer;
}

/**
 * Handles one request; null when there was no reply. The descriptor is a file, which takes replies
 * as the kernel would.
 */
async function ask(files: Record<string, BlockFile>, bytes: Uint8Array): Promise<Reply | null> {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-fuse-"));
  const path = join(directory, "replies");
  const descriptor = openSync(path, "w");
  try {
    const { live = new RecordingFile(true), ...others } = files;
    const server = new FuseServer({ fuseDescriptor: descriptor, live, onError: () => undefined });
    for (const [name, file] of Object.entries(others)) server.show(name, file);
    await server.handle(bytes);
    const reply = readFileSync(path);
    if (reply.length === 0) return null;
    assert.equal(reply.readUInt32LE(0), reply.length);
    assert.equal(
      reply.readBigUInt64LE(8),
      0xffff_ffff_0000_0007n,
      "the kernel's number comes back",
    );
    return { error: Math.abs(reply.readInt32LE(4)), body: reply.subarray(16) };
  } finally {
    closeSync(descriptor);
    rmSync(directory, { recursive: true });
  }
}

test("a file's number follows from its name, so that the next server gives it the same", () => {
  assert.equal(nodeNumber("live"), liveNode);
  const numbers = new Set(Array.from({ length: 5_000 }, (_, index) => nodeNumber(`v${index}`)));
  assert.equal(numbers.size, 5_000);
  for (const number of numbers) assert.ok(number > 2 ** 32 && number < 2 ** 53);
});

test("GETXATTR is answered with ENOSYS, so that the kernel stops asking before each write", async () => {
  assert.equal((await ask({}, request(opcode.getxattr, liveNode)))?.error, errno.ENOSYS);
});

test("INIT offers large requests, and refuses another protocol", async () => {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(41, 4);
  body.writeUInt32LE(131_072, 8);
  body.writeUInt32LE(0xffff_ffff, 12);
  const reply = await ask({}, request(opcode.init, 0, body));
  assert.equal(reply?.body.length, 64);
  assert.equal(reply.body.readUInt32LE(20), 1_048_576);
  assert.equal(reply.body.readUInt16LE(28), 256);
  assert.equal(reply.body.readUInt32LE(12) & (1 << 16), 0, "no write-back cache");
  body.writeUInt32LE(6, 0);
  assert.equal((await ask({}, request(opcode.init, 0, body)))?.error, errno.EINVAL);
});

test("names are found while they are shown, and nothing else", async () => {
  const name = (text: string): Uint8Array => Buffer.from(`${text}\0`);
  const files = { v1: new RecordingFile(false) };
  const found = await ask(files, request(opcode.lookup, rootNode, name("v1")));
  assert.equal(found?.body.readBigUInt64LE(0), BigInt(nodeNumber("v1")));
  assert.equal(found.body.readBigUInt64LE(40 + 8), 65_536n);
  for (const other of ["v2", "", "../live", "x".repeat(300)]) {
    const reply = await ask(files, request(opcode.lookup, rootNode, name(other)));
    assert.equal(reply?.error, errno.ENOENT, other);
  }
});

test("reads stop at the end of the file, and writes past it do not happen", async () => {
  const live = new RecordingFile(true);
  const short = await ask({ live }, request(opcode.read, liveNode, io(61_440, 8_192)));
  assert.equal(short?.body.length, 4_096);
  const behind = await ask({ live }, request(opcode.read, liveNode, io(65_536, 4_096)));
  assert.equal(behind?.body.length, 0);
  const bytes = new Uint8Array(8_192);
  const past = await ask({ live }, request(opcode.write, liveNode, io(61_440, 8_192, bytes)));
  assert.equal(past?.error, errno.ENOSPC);
  assert.deepEqual(live.calls, ["read 61440 4096"]);
});

test("a full disk is ENOSPC, a read-only file EROFS", async () => {
  const bytes = new Uint8Array(4_096);
  const full = await ask({}, request(opcode.write, liveNode, io(8_192, 4_096, bytes)));
  assert.equal(full?.error, errno.ENOSPC);
  const files = { v1: new RecordingFile(false) };
  const refused = await ask(files, request(opcode.write, nodeNumber("v1"), io(0, 4_096, bytes)));
  assert.equal(refused?.error, errno.EROFS);
  assert.deepEqual(files.v1.calls, []);
});

test("punching and zeroing free space; other modes are refused", async () => {
  const body = (mode: number): Uint8Array => {
    const fields = Buffer.alloc(32);
    fields.writeBigUInt64LE(4_096n, 8);
    fields.writeBigUInt64LE(1_000_000n, 16);
    fields.writeUInt32LE(mode, 24);
    return fields;
  };
  const live = new RecordingFile(true);
  for (const mode of [3, 17]) {
    const reply = await ask({ live }, request(opcode.fallocate, liveNode, body(mode)));
    assert.equal(reply?.error, 0);
  }
  assert.deepEqual(live.calls, ["punch 4096 61440", "punch 4096 61440"]);
  const refused = await ask({ live }, request(opcode.fallocate, liveNode, body(0)));
  assert.equal(refused?.error, errno.EOPNOTSUPP);
});

test("FSYNC flushes; FORGET has no reply", async () => {
  const live = new RecordingFile(true);
  assert.equal((await ask({ live }, request(opcode.fsync, liveNode)))?.error, 0);
  assert.deepEqual(live.calls, ["flush"]);
  assert.equal(await ask({ live }, request(opcode.forget, liveNode)), null);
});
