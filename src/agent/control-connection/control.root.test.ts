import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { after, before, mock, test } from "node:test";
import { SpritesClient } from "@fly/sprites";

import { waitUntil } from "../../base/wait.ts";
import { openExec, openPort, startTestAgent, type TestAgent } from "../api/testing.ts";
import { ControlClient, outputOf } from "./testing.ts";

let agent: TestAgent;
before(async () => {
  agent = await startTestAgent();
});
after(() => agent[Symbol.asyncDispose]());

async function connect(options: { query?: string; userAgent?: string } = {}) {
  const client = new ControlClient(agent, options);
  await client.opened;
  return client;
}

const info = (command: string, tty = false) =>
  `T {"type":"session_info","session_id":"N","command":"${command}","created":N,` +
  `"cols":${tty ? 80 : 0},"rows":${tty ? 24 : 0},"is_owner":true,"tty":${tty}}`;
const exit = (code: number) => `T {"type":"exit","exit_code":${code},"code":${code}}`;
const complete = (code: number) => `T control:{"type":"op.complete","args":{"exitCode":${code}}}`;

test("contract 18.4: the transcript of JavaScript, Python and Elixir, one operation after another", async () => {
  const client = await connect();
  for (const round of [1, 2, 3]) {
    client.start({ cmd: ["cat"], stdin: "true" });
    client.socket.send(Buffer.from("\x00hi"));
    client.socket.send(Buffer.of(4));
    assert.deepEqual(
      await client.untilEnd(),
      [info("/usr/bin/cat"), "B[01]hi", "B[03]\0", exit(0), complete(0)],
      `round ${round}`,
    );
  }
  client.socket.close(1000);
  assert.equal((await client.closed).code, 1000);
});

test("contract 18.5: the transcript of Go, whose input has no stream ids", async () => {
  const client = await connect();
  client.start({ cmd: ["cat"], path: "cat", stdin: "true" });
  client.socket.send(Buffer.from("hello from pipe test\n"));
  client.socket.send(Buffer.of(4));
  assert.deepEqual(await client.untilEnd(), [
    ...[info("/usr/bin/cat"), "B[01]hello from pipe test\n", "B[03]\0", exit(0), complete(0)],
  ]);
  client.socket.close();
});

test("contract 18.6: the transcript of Go's terminal, with the default size", async () => {
  const client = await connect();
  client.start({ cmd: ["sh", "-c", "stty size"], path: "sh", tty: "true" });
  const command = "/usr/bin/sh -c stty size";
  const lines = await client.untilEnd();
  assert.deepEqual(lines, [info(command, true), "B[32]4 80\r\n", exit(0), complete(0)]);
  client.socket.close();
});

test("contract 15.15: whether input has ids is decided by the path in the arguments, or by Go's name", async () => {
  const input = Buffer.from("\x00a");
  const sums = { cmd: ["wc", "-c"], stdin: "true" };
  const cases = [
    { options: {}, args: sums, count: "1" },
    { options: {}, args: { ...sums, path: "wc" }, count: "2" },
    { options: { userAgent: "sprites-go-sdk/1.0" }, args: sums, count: "2" },
  ];
  for (const { options, args, count } of cases) {
    const client = await connect(options);
    client.start(args);
    client.socket.send(input);
    // What is no stream id of a client's is nothing, unless all of it is input.
    client.socket.send(Buffer.of(4));
    assert.ok((await client.untilEnd()).includes(`B[01]${count}\n`), JSON.stringify(args));
    client.socket.close();
  }
});

test("contract 15.16: an operation that begins while another goes on takes its place", async () => {
  const client = await connect();
  client.start({ cmd: ["sh", "-c", "trap 'echo got hup' HUP TERM; echo first; sleep 30"] });
  await client.until((line) => line.startsWith("B[01]first"));
  client.start({ cmd: ["echo", "second"] });
  assert.deepEqual(await client.untilEnd(), [
    ...[info("/usr/bin/echo second"), "B[01]second\n", "B[03]\0", exit(0), complete(0)],
  ]);
  // The first one was left as by a client that is gone: it runs on for its time.
  const left = agent.sessions.list().find(({ command }) => command.includes("echo first"));
  assert.ok(left);
  agent.sessions.get(left.id).signal("SIGKILL");
  const late = waitUntil(() => client.lines.length > 0, { timeoutMs: 300 });
  assert.equal(await late, false, client.lines.join("\n"));
  client.socket.close();
});

test("ten operations that supersede each other in one read: only the last one speaks", async () => {
  const client = await connect();
  const raw = (client.socket as unknown as { _socket: Socket })._socket;
  raw.cork();
  for (let n = 0; n < 10; n += 1) {
    client.start({ cmd: ["sh", "-c", `echo ${n}`] });
    client.socket.send(Buffer.of(4));
  }
  raw.uncork();
  const lines = await client.untilEnd();
  assert.deepEqual(lines.slice(1), ["B[01]9\n", "B[03]\0", exit(0), complete(0)]);
  const none = (): boolean => agent.sessions.list().length === 0;
  assert.ok(await waitUntil(none, { timeoutMs: 30_000 }));
  assert.deepEqual(client.lines, []);
  client.socket.close();
});

test("contract 16.7: every completion has the exit code; frames for a finished operation are nothing", async () => {
  const client = await connect();
  client.start({ cmd: ["sh", "-c", "exit 7"], stdin: "true" });
  assert.deepEqual((await client.untilEnd()).slice(1), ["B[03]\x07", exit(7), complete(7)]);
  client.socket.send(Buffer.from("\x00late"));
  client.socket.send(Buffer.of(4));
  client.socket.send('{"type":"signal","signal":"SIGKILL"}');
  client.socket.send('{"type":"release"}');
  client.start({ cmd: ["sh", "-c", "kill -9 $$"] });
  assert.deepEqual((await client.untilEnd()).slice(1), [
    ...[`B[03]${String.fromCharCode(137)}`, exit(137), complete(137)],
  ]);
  client.start({ cmd: ["no-such-program"] });
  const missing = await client.untilEnd();
  assert.match(missing.join("\n"), /B\[02\].*not found/);
  assert.deepEqual(missing.slice(-2), [exit(127), complete(127)]);
  client.start({ cmd: ["pwd"], dir: "/no/such/place" });
  const nowhere = await client.untilEnd();
  assert.match(nowhere.at(-1) ?? "", /"exitCode":(1|126)\}/);
  client.socket.close();
});

test("arguments have exec's defaults, and may be text or what they are", async () => {
  const client = await connect();
  const script = 'pwd; echo "$A $FROM_SPRITE"; [ -t 0 ] || echo no tty; cat';
  client.start({ cmd: ["sh", "-c", script], env: ["A=b c"], dir: "/tmp" });
  assert.equal(outputOf(await client.untilEnd()), "/tmp\nb c yes\nno tty\n");
  client.start({ cmd: ["stty", "size"], tty: true, rows: 30, cols: "100" });
  assert.equal(outputOf(await client.untilEnd()), "30 100\r\n");
  client.socket.close();
});

test("resize and signal reach the operation in every dialect", async () => {
  for (const encode of [(text: string) => text, (text: string) => Buffer.from(text)]) {
    const client = await connect();
    client.start({ cmd: ["sh", "-c", "echo on; read x; stty size"], tty: "true", stdin: "true" });
    await client.until((line) => line.includes("n\r\n"));
    client.socket.send(encode('{"type":"resize","cols":132,"rows":43}'));
    client.socket.send(Buffer.from("go\n"));
    assert.match(outputOf(await client.untilEnd()), /43 132/);
    client.start({ cmd: ["sleep", "30"] });
    await client.until((line) => line.includes("session_info"));
    client.socket.send(encode('{"type":"signal","signal":"KILL"}'));
    assert.equal((await client.untilEnd()).at(-1), complete(137));
    client.socket.close();
  }
});

test("a signal and the next operation in one go, as after a time-out, leave nothing behind", async () => {
  const client = await connect();
  client.start({ cmd: ["sleep", "1000.25"], stdin: "true" });
  await client.until((line) => line.includes("session_info"));
  client.socket.send(Buffer.from('{"type":"signal","signal":"KILL"}'));
  client.start({ cmd: ["echo", "next"] });
  assert.ok((await client.untilEnd()).includes("B[01]next\n"));
  const isGone = (): boolean => agent.sessions.list().length === 0;
  assert.ok(await waitUntil(isGone, { timeoutMs: 30_000 }));
  client.socket.close();
});

test("a session is attached to over a control connection, and left again", async () => {
  const owner = openExec(agent, { cmd: ["sh", "-c", "echo before; cat"], stdin: "true" });
  assert.ok(await waitUntil(() => owner.stream(1).length > 0, { timeoutMs: 30_000 }));
  const client = await connect();
  client.start({ id: owner.sessionId, cmd: [""], path: "", stdin: "true" });
  const seen = await client.until((line) => line.startsWith("B[01]before"));
  assert.match(seen[0] ?? "", /"is_owner":false,"tty":false/);
  client.socket.send(Buffer.from("from afar\n"));
  await client.until((line) => line.includes("from afar"));
  // One who watches ends its own input only.
  client.socket.send(Buffer.of(4));
  owner.send(0, "still open\n");
  await client.until((line) => line.includes("still open"));
  client.start({ cmd: ["echo", "elsewhere"] });
  assert.ok((await client.untilEnd()).includes("B[01]elsewhere\n"));
  owner.send(4);
  assert.equal((await owner.closed).code, 1000);
  assert.deepEqual(client.lines, []);
  client.start({ id: "999999" });
  assert.deepEqual(await client.untilEnd(), [
    'T control:{"type":"op.error","args":{"error":"session not found: 999999"}}',
  ]);
  client.socket.close();
});

test("what is no operation is an error, and the connection goes on", async () => {
  const client = await connect();
  const send = (text: string) => client.socket.send(text);
  send("control:{");
  send('control:{"type":"op.start"}');
  send('control:{"type":"op.start","op":"dance","args":{}}');
  send('control:{"type":"op.start","op":"exec","args":{"cmd":[{}]}}');
  send('control:{"type":"op.start","op":"exec","args":{"cmd":["x"],"env":["no-equals"]}}');
  send('control:{"type":"op.start","op":"exec","args":{"cmd":["x"],"tty":"true","rows":"-1"}}');
  client.start({ cmd: ["echo", "fine"] });
  const lines = await client.until((line) => line === complete(0));
  assert.ok(lines.includes("B[01]fine\n"));
  assert.match(lines.join("\n"), /op\.error/);
  assert.ok(!lines.join("\n").includes("internal error"), lines.join("\n"));
  client.socket.close();
});

test("an operation in the address begins at once", async () => {
  const client = await connect({ query: "?op=exec&cmd=echo&cmd=at+once" });
  assert.ok((await client.untilEnd()).includes("B[01]at once\n"));
  client.socket.close();
});

test("a connection that is closed in the middle leaves its command its time", async () => {
  const client = await connect();
  client.start({ cmd: ["sleep", "30"], max_run_after_disconnect: "100ms" });
  await client.until((line) => line.includes("session_info"));
  client.socket.terminate();
  const isGone = (): boolean => agent.sessions.list().length === 0;
  assert.ok(await waitUntil(isGone, { timeoutMs: 30_000 }));
  assert.ok(await waitUntil(() => agent.connections.controls.count === 0, { timeoutMs: 30_000 }));
});

test("a silent operation gets an empty frame at least every 20 s, and a connection without one nothing", async () => {
  mock.timers.enable({ apis: ["setInterval"] });
  try {
    const client = await connect();
    client.start({ cmd: ["cat"], stdin: "true" });
    await client.until((line) => line.includes("session_info"));
    mock.timers.tick(20_000);
    await client.until((line) => line === "B[]");
    client.socket.send(Buffer.of(4));
    await client.untilEnd();
    mock.timers.tick(100_000);
    const later = waitUntil(() => client.lines.length > 0, { timeoutMs: 100 });
    assert.equal(await later, false, client.lines.join("\n"));
    client.socket.close();
  } finally {
    mock.timers.reset();
  }
});

test("Go's tunnel over a control connection", async () => {
  const server = openExec(agent, {
    cmd: ["python3", "-u", "-c", echoOnce],
  });
  assert.ok(await waitUntil(() => server.stream(1).length > 0, { timeoutMs: 30_000 }));
  const port = Number(server.stream(1).toString());
  const client = await connect({ userAgent: "sprites-go-sdk/1.0" });
  const params = { host: "localhost", port, keep_alive: true };
  client.socket.send(JSON.stringify({ type: "start", operation: "proxy", params }));
  await client.until((line) => line === `T {"status":"connected","target":"localhost:${port}"}`);
  client.socket.send(Buffer.from("ping"));
  await client.until((line) => line === "B[70]ing");
  client.socket.send('{"type":"release"}');
  client.start({ cmd: ["echo", "after"] });
  assert.ok((await client.untilEnd()).includes("B[01]after\n"));
  const refused = { host: "localhost", port: 9, keep_alive: true };
  client.socket.send(JSON.stringify({ type: "start", operation: "proxy", params: refused }));
  await client.until((line) => line.includes('"status":"error"') && line.includes("refused"));
  client.socket.close();
});

const echoOnce = `
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
print(s.getsockname()[1])
c, _ = s.accept()
while True:
    b = c.recv(100)
    if not b: break
    c.sendall(b)
`;

test("contract 16.7: 100 connections at once, each with its own command", async () => {
  const clients = Array.from({ length: 100 }, () => new ControlClient(agent));
  await Promise.all(clients.map((client) => client.opened));
  for (const [n, client] of clients.entries()) client.start({ cmd: ["echo", `number ${n}`] });
  for (const [n, client] of clients.entries()) {
    const lines = await client.untilEnd();
    assert.deepEqual(lines.slice(1), [`B[01]number ${n}\n`, "B[03]\0", exit(0), complete(0)]);
  }
  agent.connections.controls.endAll("the sprite is stopping");
  for (const { closed } of clients) assert.equal((await closed).code, 1001);
});

test("the official client with controlMode: output, exit codes, directories, environment", async () => {
  const { url, server } = await openPort(agent);
  const client = new SpritesClient("token", { baseURL: url, controlMode: true });
  const sprite = client.sprite("s1");
  const directs = directExecCount();
  try {
    assert.ok(sprite.useControlMode());
    const results = await Promise.all(
      Array.from({ length: 30 }, (_, n) => sprite.execFile("sh", ["-c", `echo ${n}; echo e >&2`])),
    );
    for (const [n, { stdout, stderr, exitCode }] of results.entries()) {
      assert.deepEqual(
        { stdout, stderr, exitCode },
        { stdout: `${n}\n`, stderr: "e\n", exitCode: 0 },
      );
    }
    const options = { cwd: "/tmp", env: { A: "1" } };
    const { stdout } = await sprite.execFile("sh", ["-c", "pwd; echo $A"], options);
    assert.equal(stdout, "/tmp\n1\n");
    const large = await sprite.execFile("head", ["-c", "5000000", "/dev/zero"]);
    assert.equal(large.stdout.length, 5_000_000);
    assert.equal(directs(), 0, "nothing fell back to a socket of its own");
    // This version runs a command that fails a second time, on a socket of its own.
    await assert.rejects(sprite.execFile("sh", ["-c", "exit 3"]), { exitCode: 3 });
  } finally {
    sprite.closeControlConnection();
    server.close();
    agent.connections.controls.endAll("the test is over");
  }
});

/** Counts exec sockets from now on. */
function directExecCount(): () => number {
  let count = 0;
  const original = agent.sessions.checkRoom.bind(agent.sessions);
  agent.sessions.checkRoom = () => {
    // Only a socket of its own asks before it begins.
    if (new Error("").stack?.includes("exec-socket")) count += 1;
    original();
  };
  return () => count;
}
