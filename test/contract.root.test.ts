/**
 * Where the contract's sources disagree (section 15), and what breaks clients first (section 16): a test for each row that no other
 * file has (docs/contract-rows.md), against a real server, as the clients' bytes have it.
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import type { SpriteObject } from "../src/contract/sprite.ts";
import { waitUntil } from "../src/base/wait.ts";
import { TestServer } from "./support/server.ts";
import { openExec, type ExecSocket } from "./support/websocket.ts";

const config = { ramMB: 512, cpus: 2, region: "iad", storageGB: 10 };
let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("box", config);
});
after(() => server?.close());

const exec = "/v1/sprites/box/exec";

async function run(
  words: readonly string[],
  more: Record<string, string> = {},
): Promise<ExecSocket> {
  const query = [...words.map((word) => ["cmd", word] as const), ...Object.entries(more)];
  return await openExec(server, exec, query);
}

async function ended(
  socket: ExecSocket,
): Promise<{ code: number; bytes: Buffer; types: unknown[] }> {
  const { code } = await socket.closed;
  return { code, bytes: socket.bytes(), types: socket.messages().map(({ type }) => type) };
}

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  const init = body === undefined ? {} : { body: JSON.stringify(body) };
  return await server.request(path, { method, ...init });
}

async function lastLine(response: Response): Promise<Record<string, unknown>> {
  assert.equal(response.status, 200);
  const lines = (await response.text()).trimEnd().split("\n");
  return JSON.parse(lines.at(-1) ?? "") as Record<string, unknown>;
}

test("contract 15.1: the end of a command without a terminal is one byte, then text with both keys", async () => {
  const socket = await run(["sh", "-c", "exit 7"]);
  const { bytes } = await ended(socket);
  assert.deepEqual([...bytes], [3, 7]);
  assert.deepEqual(socket.messages().at(-1), { type: "exit", exit_code: 7, code: 7 });
});

test("contract 15.2: the end of a command with a terminal is text, and a close code that is not 1000", async () => {
  const socket = await run(["sh", "-c", "exit 7"], { tty: "true" });
  const { code, bytes } = await ended(socket);
  assert.equal(bytes.length, 0);
  assert.deepEqual(socket.messages().at(-1), { type: "exit", exit_code: 7, code: 7 });
  assert.equal(code, 4000);
  const fine = await ended(await run(["true"], { tty: "true" }));
  assert.equal(fine.code, 1000);
});

test("contract 15.3, contract 16.8: a session is attached by path, id and session_id; session_info is first", async () => {
  const owner = await run(["cat"], { stdin: "true" });
  await waitUntil(() => owner.messages().length > 0, { timeoutMs: 30_000 });
  const [info] = owner.messages();
  const id = info?.["session_id"];
  assert.ok(info?.["type"] === "session_info" && typeof id === "string", JSON.stringify(info));
  const attached = [
    await openExec(server, `${exec}/${id}`, []),
    await openExec(server, exec, [["id", id]]),
    await openExec(server, exec, [
      ["session_id", id],
      ["cmd", ""],
      ["path", ""],
    ]),
  ];
  for (const { messages } of attached) {
    assert.ok(await waitUntil(() => messages().length > 0, { timeoutMs: 30_000 }));
  }
  owner.socket.send(Buffer.from([0, 104, 105]));
  owner.socket.send(Buffer.from([4]));
  for (const socket of [owner, ...attached]) {
    const { bytes, types } = await ended(socket);
    assert.equal(bytes.toString("latin1"), "\x01hi\x03\x00");
    assert.deepEqual(types, ["session_info", "exit"]);
  }
});

test("contract 15.4, contract 16.6: the socket is closed with a close frame right after the exit", async () => {
  const socket = await run(["true"]);
  await waitUntil(() => socket.messages().length > 1, { timeoutMs: 30_000 });
  const exitMs = performance.now();
  const { code } = await ended(socket);
  assert.equal(code, 1000);
  // The hosted service keeps it for 5 s.
  assert.ok(performance.now() - exitMs < 4_500);
});

test("contract 15.7: a name that is taken is a conflict", async () => {
  const response = await call("POST", "/v1/sprites", { name: "box" });
  assert.equal(response.status, 409);
  assert.equal(((await response.json()) as { error: string }).error, "already_exists");
});

test("contract 15.8, contract 15.18: counters are at the top and in org; 100 results are clamped", async () => {
  const response = await call("GET", "/v1/sprites?max_results=100");
  assert.equal(response.status, 200);
  const counters = { name: "acme", running: 1, warm: 0, cold: 0 };
  assert.partialDeepStrictEqual(await response.json(), { ...counters, org: counters });
});

test("contract 15.11: config keys come in both spellings", async () => {
  const camel = { name: "camel", config };
  const made = (await (await call("POST", "/v1/sprites", camel)).json()) as SpriteObject;
  assert.deepEqual(made.config, { ram_mb: 512, cpus: 2, region: "iad", storage_gb: 10 });
  // The SDK of today sends the other.
  const snake = (await (await call("GET", "/v1/sprites/box")).json()) as SpriteObject;
  assert.deepEqual(snake.config, made.config);
});

test("contract 15.19, contract 15.20: a new sprite comes up without traffic, and names its own address", async () => {
  const isUp = async (): Promise<boolean> => {
    const { status } = (await (await call("GET", "/v1/sprites/camel")).json()) as SpriteObject;
    return status === "running" || status === "warm";
  };
  assert.ok(await waitUntil(isUp, { timeoutMs: 45_000 }));
  const { url } = (await (await call("GET", "/v1/sprites/camel")).json()) as SpriteObject;
  assert.match(url, /^https:\/\/camel-[a-z0-9]+\.sprites\.localhost(:\d+)?$/);
});

test("contract 15.10, contract 15.21: a checkpoint ends in complete, and its lineage is an array", async () => {
  const made = await lastLine(await call("POST", "/v1/sprites/box/checkpoint", { comment: "one" }));
  assert.equal(made["type"], "complete");
  await (await call("POST", "/v1/sprites/box/checkpoint")).text();
  const lineage = await call("GET", "/v1/sprites/box/checkpoints?history=v1");
  const ids = ((await lineage.json()) as { id: string }[]).map(({ id }) => id);
  assert.deepEqual(ids, ["v1", "v0"]);
  const restored = await lastLine(await call("POST", "/v1/sprites/box/checkpoints/v0/restore"));
  assert.equal(restored["type"], "complete");
});

test("contract 16.1, contract 16.14: create 201, change 200 with a body, delete 204 and gone at once", async () => {
  const path = "/v1/sprites/short-lived";
  const made = await call("POST", "/v1/sprites", { name: "short-lived" });
  assert.equal(made.status, 201);
  const changed = await call("PUT", path, { labels: ["x"] });
  assert.equal(changed.status, 200);
  assert.partialDeepStrictEqual(await changed.json(), { name: "short-lived", labels: ["x"] });
  assert.equal((await call("DELETE", path)).status, 204);
  assert.equal((await call("GET", path)).status, 404);
});

test("contract 16.2: the exit does not wait for an end of stdin", async () => {
  const { stdout } = await sprite.execFile("echo", ["done"]);
  assert.equal(stdout, "done\n");
});

test("contract 16.3: without a terminal stdin is none", async () => {
  const socket = await run(["tty"], { stdin: "true" });
  const { bytes } = await ended(socket);
  assert.equal(bytes.toString("latin1"), "\x01not a tty\n\x03\x01");
});

test("contract 16.4, contract 16.17: a terminal has 24 rows of 80 columns and is said to be one", async () => {
  const socket = await run(["sh", "-c", "stty size; tty"], { tty: "true" });
  const { bytes } = await ended(socket);
  assert.match(bytes.toString(), /^24 80\r\n\/dev\/\S+\r\n$/);
  assert.partialDeepStrictEqual(socket.messages()[0], { tty: true, rows: 24, cols: 80 });
  const plain = await run(["true"]);
  await plain.closed;
  assert.equal(plain.messages()[0]?.["tty"], false);
});

test("contract 16.5: commands run as the user sprite in its home", async () => {
  const { stdout } = await sprite.execFile("sh", ["-c", 'pwd; id -un; echo "$HOME"']);
  assert.equal(stdout, "/home/sprite\nsprite\n/home/sprite\n");
});

test("contract 16.10: times have milliseconds, are never empty, and integers are integers", async () => {
  const text = await (await call("GET", "/v1/sprites/box")).text();
  assert.doesNotMatch(text, /_at":""/);
  const times = [...text.matchAll(/_at":"([^"]+)"/g)].map((match) => match[1] ?? "");
  assert.ok(times.length >= 3);
  for (const time of times) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/);
  assert.doesNotMatch(text, /"(?:ram_mb|cpus|storage_gb)":\d+[.e]/);
});

test("contract 16.12: HTTP exec has one frame in a chunk, and the exit frame alone", async () => {
  const script = "echo out; echo err >&2; exit 7";
  const query = ["sh", "-c", script].map((word) => `cmd=${encodeURIComponent(word)}`).join("&");
  const { chunks } = await chunkedAnswer(`POST ${exec}?${query}`);
  const frames = chunks.map((chunk) => chunk.toString("latin1")).toSorted();
  assert.deepEqual(frames, ["\x01out\n", "\x02err\n", "\x03\x07"]);
  assert.deepEqual([...(chunks.at(-1) ?? [])], [3, 7]);
});

/** The chunks of an answer as they are on the wire. */
async function chunkedAnswer(start: string): Promise<{ chunks: Buffer[] }> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  const head = ["Host: x", `Authorization: Bearer ${server.token}`, "Content-Length: 0"];
  socket.write(`${[`${start} HTTP/1.1`, ...head, "Connection: close"].join("\r\n")}\r\n\r\n`);
  const received = await buffer(socket);
  let rest = received.subarray(received.indexOf("\r\n\r\n") + 4);
  const chunks: Buffer[] = [];
  for (;;) {
    const end = rest.indexOf("\r\n");
    const length = Number.parseInt(rest.toString("latin1", 0, end), 16);
    if (!(length > 0)) return { chunks };
    chunks.push(rest.subarray(end + 2, end + 2 + length));
    rest = rest.subarray(end + 2 + length + 2);
  }
}

test("contract 16.13: every answer has the version, and a socket's says that signals go in band", async () => {
  for (const [method, path] of [
    ["HEAD", exec],
    ["GET", "/v1/sprites"],
    ["GET", "/v1/sprites/nobody"],
    ["GET", "/nowhere"],
  ] as const) {
    const { headers } = await call(method, path);
    assert.match(headers.get("sprite-version") ?? "", /^v\d+\.\d+\.\d+/, path);
  }
  const socket = await openExec(server, exec, [["cmd", "true"]]);
  await socket.closed;
  assert.match(socket.headers["sprite-version"] ?? "", /^v\d+\.\d+\.\d+/);
  assert.equal(socket.headers["x-sprite-capabilities"], "signal");
});

test("contract 16.15: a raw path is split before its segments are decoded", async () => {
  assert.equal((await call("GET", "/v1/sprites/b%6fx")).status, 200);
  assert.equal((await call("GET", "/v1/sprites/box%2Fexec")).status, 404);
  const task = "a%2Fb";
  assert.equal((await call("PUT", `/v1/sprites/box/tasks/${task}`, {})).status, 200);
  const { name } = (await (await call("GET", `/v1/sprites/box/tasks/${task}`)).json()) as {
    name: string;
  };
  assert.equal(name, "a/b");
});

test("contract 16.16: a command line and headers of several hundred KiB go through", async () => {
  const word = "x".repeat(100_000);
  const socket = await openExec(server, exec, [
    ["cmd", "sh"],
    ["cmd", "-c"],
    ["cmd", 'echo "${#0} ${#1} ${#2}"'],
    ["cmd", word],
    ["cmd", word],
    ["cmd", word],
  ]);
  const { bytes } = await ended(socket);
  assert.match(bytes.toString("latin1"), /^\x01100000 100000 100000\n/);
});
