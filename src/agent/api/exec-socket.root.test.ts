import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { waitUntil } from "../../base/wait.ts";
import {
  attachExec,
  ExecClient,
  openExec,
  sendRequest,
  startTestAgent,
  testVersion,
} from "./testing.ts";
import type { Frame, TestAgent } from "./testing.ts";

let agent: TestAgent;
before(async () => {
  agent = await startTestAgent();
});
after(async () => {
  await agent[Symbol.asyncDispose]();
});

function bash(script: string, more: Record<string, string> = {}): ExecClient {
  return openExec(agent, { cmd: ["bash", "-c", script], path: "bash", ...more });
}

function terminal(script: string, more: Record<string, string> = {}): ExecClient {
  return bash(script, { tty: "true", ...more });
}

async function until(condition: () => boolean, what: string): Promise<void> {
  assert.ok(await waitUntil(condition, { timeoutMs: 30_000, intervalMs: 5 }), what);
}

/** What the frames are, without their content. */
function shape(frames: readonly Frame[]): string {
  return frames
    .map((frame) => (frame.kind === "text" ? frame.value["type"] : `b${frame.bytes[0] ?? ""}`))
    .join(" ");
}

function listIds(body: string): string[] {
  const { sessions } = JSON.parse(body) as { sessions: Array<{ id: string }> };
  return sessions.map(({ id }) => id);
}

test("a command without a terminal: headers, frames in order, one exit, a clean close", async () => {
  const client = bash("echo out; sleep 0.05; echo err >&2; exit 7", { stdin: "true" });
  const { code } = await client.closed;
  assert.equal(client.headers["sprite-version"], testVersion);
  assert.equal(client.headers["x-sprite-capabilities"], "signal");
  assert.equal(shape(client.frames), "session_info b1 b2 b3 exit");
  const info = client.texts()[0] ?? {};
  assert.match(String(info["session_id"]), /^[1-9][0-9]*$/);
  assert.equal(info["command"], "/usr/bin/bash -c echo out; sleep 0.05; echo err >&2; exit 7");
  assert.deepEqual(
    [info["tty"], info["is_owner"], info["cols"], info["rows"]],
    [false, true, 0, 0],
  );
  assert.ok(Number.isInteger(info["created"]));
  assert.deepEqual(client.stream(3), Buffer.of(7));
  assert.deepEqual(client.texts().at(-1), { type: "exit", exit_code: 7, code: 7 });
  assert.equal(code, 1000);
});

test("environment and directory are the defaults, then the sprite's, then the request's", async () => {
  const client = bash('pwd; echo "$HOME $USER $LOGNAME $SHELL $LANG $FROM_SPRITE $A $PATH"', {
    env: "A=b=c",
  });
  await client.closed;
  const [directory, line = ""] = client.stream(1).toString().split("\n");
  assert.equal(directory, "/home/sprite");
  assert.match(line, /^\/home\/sprite sprite sprite \/bin\/bash C.UTF-8 yes b=c /);
  assert.match(line, /:\/\.sprite\/bin/);
  const moved = openExec(agent, { cmd: "pwd", dir: "/tmp" });
  await moved.closed;
  assert.equal(moved.stream(1).toString(), "/tmp\n");
});

test("missing programs and directories are the command's failures", async () => {
  const missing = openExec(agent, { cmd: "nonesuch" });
  assert.equal((await missing.closed).code, 1000);
  assert.match(missing.stream(2).toString(), /nonesuch: command not found/);
  assert.deepEqual(missing.stream(3), Buffer.of(127));
  const nowhere = openExec(agent, { cmd: "pwd", dir: "/nonesuch" });
  await nowhere.closed;
  assert.deepEqual(nowhere.stream(3), Buffer.of(126));
});

test("input: data, end, unknown frames, and frames after the end", async () => {
  const client = openExec(agent, { cmd: "cat", stdin: "true" });
  await client.opened;
  client.send(0, "hello\n");
  client.send(9, "unknown");
  client.socket.send("not json");
  client.socket.send(Buffer.alloc(0));
  client.send(0, "more\n");
  client.send(4);
  client.send(0, "late");
  client.send(4);
  await client.closed;
  assert.equal(client.stream(1).toString(), "hello\nmore\n");
  assert.deepEqual(client.stream(3), Buffer.of(0));
});

test("without stdin the input is at its end, whatever the client sends", async () => {
  const client = openExec(agent, { cmd: "cat", stdin: "false" });
  await client.opened;
  client.send(0, "ignored");
  client.send(4);
  await client.closed;
  assert.equal(client.stream(1).length, 0);
  const probing = bash("tty; echo $?", { stdin: "true" });
  await probing.closed;
  assert.equal(probing.stream(1).toString(), "not a tty\n1\n");
});

test("a client that never ends its input gets the exit all the same", async () => {
  const client = openExec(agent, { cmd: ["sh", "-c", "exit 5"], stdin: "true" });
  assert.equal((await client.closed).code, 1000);
  assert.deepEqual(client.stream(3), Buffer.of(5));
});

test("100 MB through stdin to stdout keep their hash, with both sides at their own pace", async () => {
  const client = openExec(agent, { cmd: "cat", stdin: "true" });
  const sent = createHash("sha256");
  await client.opened;
  const block = randomBytes(250_000);
  for (let i = 0; i < 400; i++) {
    sent.update(block);
    await new Promise<void>((resolve) => {
      client.socket.send(Buffer.concat([Buffer.of(0), block]), () => resolve());
    });
  }
  client.send(4);
  await client.closed;
  const output = client.stream(1);
  assert.equal(output.length, 100_000_000);
  assert.equal(createHash("sha256").update(output).digest("hex"), sent.digest("hex"));
});

test("1,000 commands in parallel batches: each whole, each with one exit", async () => {
  let started = 0;
  const worker = async () => {
    while (started < 1_000) {
      const number = ++started;
      const client = openExec(agent, { cmd: ["echo", `ok ${number}`], stdin: "true" });
      const { code } = await client.closed;
      assert.equal(shape(client.frames), "session_info b1 b3 exit");
      assert.equal(client.stream(1).toString(), `ok ${number}\n`);
      assert.equal(code, 1000);
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
});

test("a grandchild that holds the pipe delays the exit only for a moment", async () => {
  const startMs = performance.now();
  const client = bash("sleep 30 & echo done; exit 4");
  await client.closed;
  assert.ok(performance.now() - startMs < 15_000);
  assert.equal(client.stream(1).toString(), "done\n");
  assert.deepEqual(client.stream(3), Buffer.of(4));
  const noisy = bash("(while :; do echo x; sleep 0.01; done) & exit 6");
  await noisy.closed;
  assert.deepEqual(noisy.stream(3), Buffer.of(6));
  await bash("pkill sleep; pkill -f 'echo x'").closed;
});

test("signals in-band reach the group, under every name", async () => {
  for (const [signal, code] of [
    ["TERM", 143],
    ["sigkill", 137],
    ["SIGINT", 130],
    [15, 143],
  ] as const) {
    const client = bash("echo go; sleep 100 & wait");
    await until(() => client.stream(1).length > 0, "the command runs");
    client.socket.send(JSON.stringify({ type: "signal", signal: "BOGUS" }));
    client.socket.send(JSON.stringify({ type: "signal", signal }));
    await client.closed;
    assert.deepEqual(client.stream(3), Buffer.of(code), String(signal));
  }
});

test("a terminal: raw frames, its size, and the exit in text and close code", async () => {
  const size = openExec(agent, { cmd: ["stty", "size"], tty: "true", rows: "30", cols: "100" });
  assert.equal((await size.closed).code, 1000);
  assert.equal(size.terminal(), "30 100\r\n");
  const info = size.texts()[0] ?? {};
  assert.deepEqual([info["tty"], info["cols"], info["rows"]], [true, 100, 30]);
  const failing = terminal("stty size; tty; exit 3");
  assert.equal((await failing.closed).code, 4000);
  assert.match(failing.terminal(), /^24 80\r\n\/dev\/pts\/[0-9]+\r\n$/);
  assert.deepEqual(failing.texts().at(-1), { type: "exit", exit_code: 3, code: 3 });
});

test("a terminal takes keys, ^D among them, and resizes", async () => {
  const client = terminal(
    'trap \'stty size\' WINCH; echo ready; while read -t 0.1 x || [ $? -gt 128 ]; do [ -z "$x" ] || echo "got $x"; done',
  );
  await until(() => client.terminal().includes("ready"), "the shell is ready");
  client.socket.send(JSON.stringify({ type: "resize", cols: 132, rows: 43 }));
  await until(() => client.terminal().includes("43 132"), "the new size arrived");
  client.socket.send(Buffer.from("key\n"));
  await until(() => client.terminal().includes("got key"), "the key arrived");
  client.socket.send(Buffer.of(4));
  const { code } = await client.closed;
  assert.equal(code, 1000, client.terminal());
});

test("sessions: list, attach in three forms, replay, input of both, end for all", async () => {
  const owner = bash('echo out; sleep 0.05; echo err >&2; while read x; do echo "got $x"; done', {
    stdin: "true",
  });
  await until(() => owner.stream(2).length > 0, "the command runs");
  const id = owner.sessionId;
  const list = await sendRequest(agent, { method: "GET", path: "/v1/sprites/s1/exec" });
  const body = JSON.parse(list.body);
  assert.equal(body.count, body.sessions.length);
  const entry = body.sessions.find((session: { id: string }) => session.id === id);
  assert.deepEqual([entry.tty, entry.workdir, entry.is_active], [false, "/home/sprite", true]);
  assert.match(entry.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(typeof entry.bytes_per_second, "number");

  const others = [
    attachExec(agent, id),
    new ExecClient(agent.socketPath, `/v1/sprites/s1/exec?id=${id}&tty=true`),
    new ExecClient(agent.socketPath, `/v1/sprites/s1/exec?session_id=${id}&cmd=x&path=x`),
  ];
  for (const other of others) {
    await until(() => other.stream(2).length > 0, "the past was replayed");
    assert.equal(shape(other.frames), "session_info b1 b2");
    assert.equal(other.texts()[0]?.["is_owner"], false);
    assert.equal(other.texts()[0]?.["tty"], false);
  }
  // The end of an observer's input is only its own.
  others[0]?.send(4);
  others[1]?.send(0, "a\n");
  await until(() => owner.stream(1).includes("got a"), "an observer's input arrived");
  owner.send(4);
  for (const client of [owner, ...others]) {
    assert.equal((await client.closed).code, 1000);
    assert.equal(client.stream(1).toString(), "out\ngot a\n");
    assert.deepEqual(client.stream(3), Buffer.of(0));
    assert.equal(client.texts().filter(({ type }) => type === "exit").length, 1);
  }
  const after = await sendRequest(agent, { method: "GET", path: "/v1/sprites/s1/exec" });
  assert.ok(!listIds(after.body).includes(id));
  const gone = attachExec(agent, id);
  await assert.rejects(gone.opened, /404/);
});

test("a terminal session survives its client, keeps 1 MiB of the past, and takes a new one", async () => {
  const owner = terminal('seq 1 300000; echo end-mark; read x; echo "got $x"; exit 2');
  await until(() => owner.terminal().includes("end-mark"), "the output is through");
  const all = owner.terminal();
  assert.ok(all.length > 2_000_000);
  owner.socket.terminate();
  await sleep(50);
  const second = attachExec(agent, owner.sessionId, "rows=50&cols=90");
  await until(() => second.terminal().includes("end-mark"), "the past was replayed");
  assert.equal(second.terminal(), all.slice(-1024 * 1024));
  assert.deepEqual([second.texts()[0]?.["tty"], second.texts()[0]?.["rows"]], [true, 50]);
  second.socket.send(Buffer.from("key\r"));
  assert.equal((await second.closed).code, 4000);
  assert.match(second.terminal(), /got key\r\n$/);
});

test("a lone end of input right after attaching does not log a terminal out", async () => {
  const owner = terminal('echo ready; read x; echo "got $x"');
  await until(() => owner.terminal().includes("ready"), "the shell runs");
  const hasty = attachExec(agent, owner.sessionId);
  await hasty.opened;
  hasty.send(4);
  const mute = attachExec(agent, owner.sessionId, "stdin=false");
  await mute.opened;
  mute.socket.send(Buffer.from("unwanted\r"));
  await sleep(100);
  hasty.socket.send(Buffer.from("wanted\r"));
  await owner.closed;
  assert.match(owner.terminal(), /got wanted\r\n$/);
  assert.doesNotMatch(owner.terminal(), /unwanted/);
});

test("a command outlives its client for the time it was given, and no longer", async () => {
  const short = bash("trap 'echo term >/tmp/short; exit' TERM; echo go; sleep 100 & wait", {
    max_run_after_disconnect: "200ms",
  });
  await until(() => short.stream(1).length > 0, "the command runs");
  short.socket.terminate();
  const check = async () => {
    const client = openExec(agent, { cmd: ["cat", "/tmp/short"] });
    await client.closed;
    return client.stream(1).toString() === "term\n";
  };
  assert.ok(await waitUntil(check, { timeoutMs: 30_000, intervalMs: 50 }));
  const detached = bash("echo go; read x; exit 9", { detachable: "true", stdin: "true" });
  await until(() => detached.stream(1).length > 0, "the command runs");
  detached.socket.close();
  await detached.closed;
  const again = attachExec(agent, detached.sessionId);
  await again.opened;
  again.send(0, "x\n");
  await again.closed;
  assert.deepEqual(again.stream(3), Buffer.of(9));
});

test("a client that does not read holds the command back, and loses nothing", async () => {
  const client = bash("head -c 50000000 /dev/zero; echo end >&2");
  await client.opened;
  await until(() => client.frames.length > 1, "output flows");
  client.socket.pause();
  await sleep(300);
  const heldBytes = client.stream(1).length;
  // What the server and both sockets hold is a few megabytes.
  assert.ok(heldBytes < 20_000_000, `${heldBytes} bytes came while nobody read`);
  assert.equal(agent.sessions.list().length, 1);
  client.socket.resume();
  await client.closed;
  assert.equal(client.stream(1).length, 50_000_000);
  assert.equal(client.stream(2).toString(), "end\n");
});

test("a waiter killed by the guest is a lost command: an error, never exit 0", async () => {
  const client = bash("echo out; kill -9 $PPID; sleep 100");
  const { code, reason } = await client.closed;
  assert.equal(code, 1011);
  assert.notEqual(reason, "");
  assert.equal(client.stream(1).toString(), "out\n");
  assert.match(client.stream(2).toString(), /^sprite: /);
  assert.equal(client.stream(3).length, 0);
  assert.ok(client.texts().every(({ type }) => type !== "exit"));
});

test("malformed parameters and unknown sessions are refused before the upgrade", async () => {
  const upgrade = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const cases: Array<[string, number]> = [
    ["/v1/sprites/s1/exec?cmd=%zz", 400],
    ["/v1/sprites/s1/exec?cmd=a%00", 400],
    ["/v1/sprites/s1/exec?cmd=a&env=x", 400],
    ["/v1/sprites/s1/exec?cmd=a&tty=true&rows=x", 400],
    ["/v1/sprites/s1/exec?cmd=a&max_run_after_disconnect=x", 400],
    ["/v1/sprites/s1/exec/999999", 404],
    ["/v1/sprites/s1/exec/..%2f..%2fetc", 404],
    ["/v1/sprites/s1/exec?id=0", 404],
    ["/v1/sprites/s1/nothing", 404],
    ["/nothing", 404],
  ];
  for (const [path, status] of cases) {
    const response = await sendRequest(agent, { method: "GET", path, headers: upgrade });
    assert.equal(response.status, status, path);
    assert.equal(response.headers["sprite-version"], testVersion);
    const body = JSON.parse(response.body);
    assert.equal(typeof body.error, "string");
    assert.equal(typeof body.message, "string");
  }
  const wrongKey = await sendRequest(agent, {
    method: "GET",
    path: "/v1/sprites/s1/exec?cmd=true",
    headers: { ...upgrade, "Sec-WebSocket-Key": "bad" },
  });
  assert.equal(wrongKey.status, 400);
});

test("when the sprite stops, every client hears it", async () => {
  const pipe = bash("echo go; sleep 100");
  const tty = terminal("echo go; sleep 100");
  await until(() => pipe.stream(1).length > 0 && tty.terminal().includes("go"), "both run");
  await agent.sessions.endAll("the sprite is stopping");
  for (const client of [pipe, tty]) {
    assert.deepEqual(await client.closed, { code: 1001, reason: "the sprite is stopping" });
    assert.ok(client.texts().every(({ type }) => type !== "exit"));
  }
});
