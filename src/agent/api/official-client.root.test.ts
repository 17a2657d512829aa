/** The unmodified official JavaScript client against the agent. */
import assert from "node:assert/strict";
import type { Server } from "node:net";
import { buffer } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { SpritesClient, type Sprite } from "@fly/sprites";

import { waitUntil } from "../../base/wait.ts";
import { openPort, startTestAgent, type TestAgent } from "./testing.ts";

let agent: TestAgent;
let server: Server;
let sprite: Sprite;
before(async () => {
  agent = await startTestAgent();
  const port = await openPort(agent);
  server = port.server;
  sprite = new SpritesClient("token", { baseURL: port.url }).sprite("s1");
});
after(async () => {
  server.close();
  await agent[Symbol.asyncDispose]();
});

test("execFile returns output, and rejects with the code", async () => {
  const { stdout, stderr } = await sprite.execFile("sh", ["-c", "echo out; echo err >&2"]);
  assert.deepEqual([String(stdout), String(stderr)], ["out\n", "err\n"]);
  await assert.rejects(sprite.execFile("sh", ["-c", "exit 7"]), (error: { exitCode?: number }) => {
    assert.equal(error.exitCode, 7);
    return true;
  });
});

test("exec in a directory, with variables", async () => {
  const where = await sprite.execFile("pwd", [], { cwd: "/tmp" });
  assert.equal(String(where.stdout), "/tmp\n");
  const result = await sprite.exec("printenv A", { cwd: "/tmp", env: { A: "x y" } });
  assert.equal(String(result.stdout), "x y\n");
});

test("spawn streams in and out", async () => {
  const command = sprite.spawn("cat");
  const output = buffer(command.stdout);
  await new Promise((resolve) => command.once("spawn", resolve));
  command.stdin.write("hello ");
  command.stdin.end("world");
  assert.equal(await command.wait(), 0);
  assert.equal((await output).toString(), "hello world");
});

test("a signal ends a command", async () => {
  const command = sprite.spawn("sleep", ["100"]);
  await new Promise((resolve) => command.once("spawn", resolve));
  assert.ok(await waitUntil(() => agent.sessions.list().length > 0, { timeoutMs: 30_000 }));
  command.kill("SIGTERM");
  assert.equal(await command.wait(), 143);
});

test("execFileHTTP", async () => {
  await onceIdle(async () => {
    const { stdout, stderr } = await sprite.execFileHTTP("sh", ["-c", "echo out; echo err >&2"]);
    assert.deepEqual([String(stdout), String(stderr)], ["out\n", "err\n"]);
    const large = await sprite.execFileHTTP("head", ["-c", "300000", "/dev/zero"]);
    assert.equal(large.stdout.length, 300_000);
  });
});

/**
 * The client takes what one read brings for one frame: when this process gets no turn for some
 * milliseconds, two frames come in one read, whatever the gap between them.
 */
async function onceIdle(check: () => Promise<void>): Promise<void> {
  for (let triesLeft = 5; ; triesLeft--) {
    try {
      await check();
      return;
    } catch (error) {
      if (triesLeft === 1) throw error;
    }
  }
}

test("a terminal session is created, listed, attached and resized", async () => {
  const script = "echo ready; read x; stty size; exit 0";
  const first = sprite.createSession("bash", ["-c", script], { rows: 30, cols: 90, tty: true });
  let seen = "";
  first.stdout.on("data", (bytes: Buffer) => {
    seen += bytes.toString();
  });
  assert.ok(await waitUntil(() => seen.includes("ready"), { timeoutMs: 30_000 }), seen);
  const sessions = await sprite.listSessions();
  assert.equal(sessions.length, 1);
  const second = sprite.attachSession(sessions[0]?.id ?? "");
  let replayed = "";
  second.stdout.on("data", (bytes: Buffer) => {
    replayed += bytes.toString();
  });
  assert.ok(await waitUntil(() => replayed.includes("ready"), { timeoutMs: 30_000 }), replayed);
  second.resize(132, 43);
  second.stdin.write("go\r");
  assert.deepEqual(await Promise.all([first.wait(), second.wait()]), [0, 0]);
  assert.match(seen, /43 132/);
  assert.match(replayed, /43 132/);
});

test("100 commands at once", async () => {
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, i) => sprite.execFile("echo", [`ok ${i}`])),
  );
  assert.deepEqual(
    results.map(({ stdout }) => String(stdout)),
    results.map((_, i) => `ok ${i}\n`),
  );
});
