import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { unixPipeExecutable } from "./unix-pipe.ts";

describe("unix-pipe", () => {
  let directory = "";
  let program = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "unix-pipe-"));
    program = join(directory, "unix-pipe");
    writeFileSync(program, unixPipeExecutable(), { mode: 0o755 });
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function run(
    args: readonly string[],
    stdin: Buffer,
  ): Promise<{ exitCode: number | null; stdout: Buffer }> {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    const [exitCode] = (await once(child, "close")) as [number | null];
    return { exitCode, stdout: Buffer.concat(chunks) };
  }

  test("carries megabytes there and back unchanged", async () => {
    const sent = randomBytes(3_000_001);
    const socketPath = join(directory, "echo.sock");
    const server = createServer((socket) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        sizeBytes += chunk.byteLength;
        if (sizeBytes === sent.byteLength) socket.end(Buffer.concat(chunks));
      });
    }).listen(socketPath);
    await once(server, "listening");
    try {
      const { exitCode, stdout } = await run([socketPath], sent);
      assert.equal(exitCode, 0);
      assert.ok(stdout.equals(sent));
    } finally {
      server.close();
    }
  });

  test("refuses what it cannot reach", async () => {
    const nothing = Buffer.alloc(0);
    assert.equal((await run([join(directory, "none")], nothing)).exitCode, 1);
    assert.equal((await run([], nothing)).exitCode, 2);
    assert.equal((await run(["x".repeat(107)], nothing)).exitCode, 2);
    assert.equal((await run(["x".repeat(106)], nothing)).exitCode, 1);
  });
});
