import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { queueHighBytes } from "./limits.ts";
import { OutputPipe } from "./output-pipe.ts";

describe("output pipe", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "output-pipe-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** A named pipe with both ends in our hands. Opening it for both never waits. */
  function openFifo(flags: number): { readFd: number; writeFd: number } {
    const path = join(directory, randomBytes(4).toString("hex"));
    execFileSync("mkfifo", [path]);
    const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writeFd = openSync(path, constants.O_WRONLY | flags);
    return { readFd, writeFd };
  }

  test("writes everything, in order", async () => {
    const path = join(directory, "file");
    const fd = openSync(path, "w");
    const pipe = new OutputPipe(fd);
    const expected: Buffer[] = [];
    for (let i = 0; i < 300; i++) {
      const bytes = randomBytes(i * 13);
      expected.push(bytes);
      pipe.write(bytes);
    }
    pipe.write("ü\n");
    await pipe.flush();
    closeSync(fd);
    const content = readFileSync(path);
    assert.ok(content.equals(Buffer.concat([...expected, Buffer.from("ü\n")])));
  });

  for (const [kind, flags] of [
    ["a blocking", 0],
    ["a non-blocking", constants.O_NONBLOCK],
  ] as const) {
    test(`waits for a slow reader of ${kind} pipe, and says when there is room`, async () => {
      const { readFd, writeFd } = openFifo(flags);
      const pipe = new OutputPipe(writeFd);
      let drainCount = 0;
      pipe.onDrain = () => drainCount++;
      const sent = randomBytes(queueHighBytes + 300_000);
      for (let at = 0; at < sent.byteLength; at += 50_000) {
        pipe.write(sent.subarray(at, at + 50_000));
      }
      assert.ok(pipe.isFull);
      let isFlushed = false;
      const flushed = pipe.flush().then(() => (isFlushed = true));
      const received: Buffer[] = [];
      const chunk = Buffer.alloc(65_536);
      for (let size = 0; size < sent.byteLength;) {
        const count = readAvailable(readFd, chunk);
        received.push(Buffer.from(chunk.subarray(0, count)));
        size += count;
        assert.ok(
          !isFlushed || size >= sent.byteLength - 65_536,
          "the kernel holds 64 KiB at most",
        );
        await new Promise((resolve) => setImmediate(resolve));
      }
      await flushed;
      assert.ok(Buffer.concat(received).equals(sent));
      assert.equal(drainCount, 1);
      assert.ok(!pipe.isFull);
      closeSync(readFd);
      closeSync(writeFd);
    });
  }

  test("tells once that the reader has gone, and drops the rest", async () => {
    const { readFd, writeFd } = openFifo(0);
    closeSync(readFd);
    const pipe = new OutputPipe(writeFd);
    const failures: (string | undefined)[] = [];
    pipe.onFailure = (error) => failures.push(error.code);
    pipe.write("a");
    pipe.write("b");
    await pipe.flush();
    pipe.write("c");
    await pipe.flush();
    assert.deepEqual(failures, ["EPIPE"]);
    assert.equal(pipe.failure?.code, "EPIPE");
    closeSync(writeFd);
  });
});

/** Reads what is there; 0 when there is nothing yet. */
function readAvailable(fd: number, chunk: Buffer): number {
  try {
    return readSync(fd, chunk);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
    throw error;
  }
}
