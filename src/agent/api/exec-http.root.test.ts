import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";

import { waitUntil } from "../../base/wait.ts";
import {
  openExec,
  queryOf,
  sendRequest,
  startTestAgent,
  testVersion,
  type TestAgent,
} from "./testing.ts";

let agent: TestAgent;
before(async () => {
  agent = await startTestAgent({
    routes: [
      {
        method: "GET",
        pattern: ["things", ":name"],
        handle: ({ response, params }) => void response.end(params["name"]),
      },
      {
        method: "POST",
        pattern: ["broken"],
        handle: () => Promise.reject(new Error("secret detail")),
      },
    ],
  });
});
after(async () => {
  await agent[Symbol.asyncDispose]();
});

/** The chunks of a response as they come from the network, each one frame. */
function postExec(parameters: Record<string, string | readonly string[]>, input?: Buffer) {
  return new Promise<{ status: number; chunks: Buffer[] }>((resolve, reject) => {
    const path = `/v1/sprites/s1/exec?${queryOf(parameters)}`;
    const call = request({ socketPath: agent.socketPath, method: "POST", path });
    call.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, chunks }));
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(input);
  });
}

async function runningSession(script: string): Promise<{ id: string; closed: Promise<unknown> }> {
  const client = openExec(agent, { cmd: ["bash", "-c", script] });
  assert.ok(await waitUntil(() => client.stream(1).length > 0, { timeoutMs: 30_000 }));
  return { id: client.sessionId, closed: client.closed };
}

async function kill(id: string, query: string) {
  const path = `/v1/sprites/s1/exec/${id}/kill?${query}`;
  const { status, headers, body } = await sendRequest(agent, {
    method: "POST",
    path,
    body: "ignored",
  });
  const lines = body.split("\n").filter((line) => line !== "");
  return { status, headers, lines: lines.map((line) => JSON.parse(line)) };
}

test("HTTP exec: one frame a chunk, the exit frame alone and last", async () => {
  const { status, chunks } = await postExec({ cmd: ["sh", "-c", "echo hi; echo err >&2; exit 3"] });
  assert.equal(status, 200);
  assert.deepEqual(chunks.at(-1), Buffer.from([3, 3]));
  assert.deepEqual(chunks.slice(0, -1).map(String).sort(), ["\x01hi\n", "\x02err\n"]);
});

test("HTTP exec: large output comes in small frames, whole", async () => {
  const { chunks } = await postExec({ cmd: ["head", "-c", "3000000", "/dev/zero"] });
  assert.deepEqual(chunks.at(-1), Buffer.from([3, 0]));
  const output = chunks.slice(0, -1);
  const total = output.reduce((sum, chunk) => sum + chunk.length, 0);
  // Node's client may cut a chunk in two, but never joins two frames.
  assert.ok(output.every((chunk) => chunk.length <= 16 * 1024 + 1));
  assert.ok(total >= 3_000_000 && total < 3_010_000, String(total));
});

test("HTTP exec: the body is the input if asked for, else ignored", async () => {
  const input = Buffer.alloc(2_000_000, "x");
  const counted = await postExec({ cmd: ["wc", "-c"], stdin: "true" }, input);
  assert.equal(String(counted.chunks[0]), "\x012000000\n");
  const ignored = await postExec({ cmd: ["wc", "-c"] }, input);
  assert.equal(String(ignored.chunks[0]), "\x010\n");
  const unread = await postExec({ cmd: ["true"], stdin: "true" }, input);
  assert.deepEqual(unread.chunks, [Buffer.from([3, 0])]);
});

test("HTTP exec: a client that breaks off ends its command", async () => {
  const path = `/v1/sprites/s1/exec?${queryOf({ cmd: ["sleep", "1000.5"] })}`;
  const call = request({ socketPath: agent.socketPath, method: "POST", path });
  call.on("error", () => undefined);
  call.end();
  assert.ok(await waitUntil(() => agent.sessions.list().length === 1, { timeoutMs: 30_000 }));
  call.destroy();
  assert.ok(await waitUntil(() => agent.sessions.list().length === 0, { timeoutMs: 30_000 }));
  const left = openExec(agent, { cmd: ["pgrep", "-f", "sleep 1000.5"] });
  await left.closed;
  assert.deepEqual(left.stream(3), Buffer.of(1));
});

test("HTTP exec: no command is refused, a lost one breaks off", async () => {
  const { status } = await sendRequest(agent, { method: "POST", path: "/v1/sprites/s1/exec" });
  assert.equal(status, 400);
  await assert.rejects(postExec({ cmd: ["sh", "-c", "kill -9 $PPID; sleep 100"] }));
});

test("kill: signal, exit and code as lines; then the session is gone", async () => {
  const { id, closed } = await runningSession("echo go; sleep 100 & wait");
  const { status, headers, lines } = await kill(id, "signal=SIGTERM&timeout=10s");
  assert.equal(status, 200);
  assert.equal(headers["content-type"], "application/x-ndjson");
  assert.deepEqual(lines, [
    {
      type: "signal",
      message: `Signaling SIGTERM to process group ${id}`,
      signal: "SIGTERM",
      pid: Number(id),
    },
    { type: "exited", message: "Process exited" },
    { type: "complete", exit_code: 143 },
  ]);
  await closed;
  assert.equal((await kill(id, "")).status, 410);
});

test("kill: what ignores the signal is killed when its time is over", async () => {
  const { id, closed } = await runningSession(
    "trap '' TERM; echo go; while :; do sleep 0.05; done",
  );
  const { lines } = await kill(id, "timeout=200ms");
  assert.deepEqual(
    lines.map(({ type }) => type),
    ["signal", "timeout", "killed", "complete"],
  );
  assert.equal(lines.at(-1).exit_code, 137);
  await closed;
});

test("kill: without a time it only signals; bad requests are told apart", async () => {
  const { id, closed } = await runningSession(
    "trap 'echo hup' HUP; echo go; while :; do sleep 0.05; done",
  );
  assert.deepEqual(
    (await kill(id, "signal=hup&timeout=0s")).lines.map(({ type }) => type),
    ["signal", "complete"],
  );
  assert.equal((await kill(id, "signal=BOGUS")).status, 400);
  assert.equal((await kill(id, "timeout=soon")).status, 400);
  assert.equal((await kill("999999", "")).status, 404);
  assert.equal((await kill(id, "signal=9&timeout=5")).lines.at(-1).exit_code, 137);
  await closed;
});

test("HEAD tells the version, other methods what is allowed, and other rooms' routes answer", async () => {
  const head = await sendRequest(agent, { method: "HEAD", path: "/v1/sprites/s1/exec" });
  assert.deepEqual(
    [head.status, head.headers["sprite-version"], head.body],
    [200, testVersion, ""],
  );
  const wrong = await sendRequest(agent, { method: "DELETE", path: "/v1/sprites/s1/exec" });
  assert.deepEqual([wrong.status, wrong.headers["allow"]], [405, "GET, HEAD, POST"]);
  const encoded = await sendRequest(agent, {
    method: "GET",
    path: "/v1/sprites/a%2Fb/things/x%2Fy",
  });
  assert.equal(encoded.body, "x/y");
  const broken = await sendRequest(agent, { method: "POST", path: "/v1/sprites/s1/broken" });
  assert.equal(broken.status, 500);
  assert.doesNotMatch(broken.body, /secret/);
  const empty = await sendRequest(agent, { method: "GET", path: "/v1/sprites/s1/exec" });
  assert.deepEqual(JSON.parse(empty.body), { count: 0, sessions: [] });
});

test("a long command line fits; endless headers and broken HTTP are refused", async () => {
  const long = await postExec({
    cmd: ["printf", "%s", ...Array.from({ length: 9 }, () => "y".repeat(90_000))],
  });
  assert.deepEqual(long.chunks.at(-1), Buffer.from([3, 0]));
  const huge = await raw(
    `GET /v1/sprites/s1/exec HTTP/1.1\r\nHost: x\r\nX-Big: ${"z".repeat(10_000_000)}\r\n\r\n`,
  );
  assert.match(huge, /^HTTP\/1\.1 431 /);
  assert.match(huge, /"error":"headers_too_large"/);
  assert.match(huge, new RegExp(`Sprite-Version: ${testVersion}`));
  assert.match(await raw("nonsense\r\n\r\n"), /^HTTP\/1\.1 400 /);
  const still = await sendRequest(agent, { method: "GET", path: "/v1/sprites/s1/exec" });
  assert.equal(still.status, 200);
});

function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(agent.socketPath, () => socket.write(text));
    socket.on("data", (bytes: Buffer) => {
      answer += bytes.toString("latin1");
      if (/\r\n\r\n.*\}$/s.test(answer)) socket.end();
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}
