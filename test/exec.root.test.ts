/** Every command tells the truth: contract.md section 3 through the official SDK, in quantity. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { TestServer } from "./support/server.ts";
import { openExec } from "./support/websocket.ts";

let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("busy");
});
after(() => server?.close());

test("10,000 short commands in parallel batches lose no byte", async () => {
  const total = 10_000;
  const parallel = 25;
  let next = 0;
  const wrong: string[] = [];
  const worker = async (): Promise<void> => {
    while (next < total) {
      const n = next;
      next += 1;
      const { stdout, stderr, exitCode } = await sprite.execFile("echo", ["ok", String(n)]);
      if (stdout !== `ok ${n}\n` || stderr !== "" || exitCode !== 0) {
        wrong.push(`${n}: ${JSON.stringify({ stdout, stderr, exitCode })}`);
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  assert.deepEqual(wrong.slice(0, 5), []);
});

test("100 MB through stdin to stdout arrive whole", async () => {
  const block = randomBytes(1024 * 1024);
  const blocks = 100;
  const sent = createHash("sha256");
  const received = createHash("sha256");
  let receivedBytes = 0;
  const command = sprite.spawn("cat", []);
  await once(command, "spawn");
  command.stdout.on("data", (bytes: Buffer) => {
    receivedBytes += bytes.length;
    received.update(bytes);
  });
  for (let n = 0; n < blocks; n += 1) {
    sent.update(block);
    if (!command.stdin.write(block)) {
      await new Promise<void>((resolve) => command.stdin.once("drain", () => resolve()));
    }
  }
  command.stdin.end();
  assert.equal(await command.wait(), 0);
  assert.equal(receivedBytes, blocks * block.length);
  assert.equal(received.digest("hex"), sent.digest("hex"));
});

test("a grandchild that holds the pipe does not hold the exit", async () => {
  const start = performance.now();
  const { stdout } = await sprite.execFile("sh", ["-c", "sleep 30 & echo done"]);
  assert.equal(stdout, "done\n");
  assert.ok(performance.now() - start < 10_000);
});

test("a terminal has the size that was asked for, and follows a resize", async () => {
  const script = "stty size; tty; read line; stty size";
  const command = sprite.spawn("sh", ["-c", script], { tty: true, rows: 30, cols: 100 });
  let output = "";
  command.stdout.on("data", (bytes: Buffer) => (output += bytes.toString()));
  assert.ok(await waitUntil(() => output.includes("/dev/"), { timeoutMs: 30_000 }), output);
  assert.match(output, /^30 100\r\n\/dev\/\S+\r\n/);
  command.resize(132, 43);
  command.stdin.write("go\n");
  assert.equal(await command.wait(), 0);
  assert.match(output, /43 132\r\n$/);
});

test("a detached session goes on, and attaching replays what was said", async () => {
  const script = "echo before; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo after";
  const first = await openExec(server, "/v1/sprites/busy/exec", [
    ...["sh", "-c", script].map((word) => ["cmd", word] as const),
    ["tty", "true"],
    ["detachable", "true"],
  ]);
  const replayed = (bytes: Buffer): boolean => bytes.includes("before");
  assert.ok(await waitUntil(() => replayed(first.bytes()), { timeoutMs: 30_000 }));
  const sessions = await sprite.listSessions();
  const session = sessions.find(({ command }) => command.includes("echo before"));
  assert.ok(session);
  first.socket.terminate();

  const again = sprite.attachSession(session.id);
  let second = "";
  again.stdout.on("data", (bytes: Buffer) => (second += bytes.toString()));
  assert.ok(await waitUntil(() => second.includes("before"), { timeoutMs: 30_000 }));
  await sprite.execFile("touch", ["/tmp/go"]);
  assert.equal(await again.wait(), 0);
  assert.match(second, /before\r\n.*after\r\n/s);
});

test("what is not there exits 127, what cannot run exits 126", async () => {
  await assert.rejects(sprite.execFile("no-such-program", []), { exitCode: 127 });
  await assert.rejects(sprite.execFile("/etc/passwd", []), { exitCode: 126 });
});
