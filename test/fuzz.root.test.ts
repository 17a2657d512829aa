/**
 * Malformed requests, bodies, frames and messages at every endpoint that a real server and its agent have: each gets an answer
 * of a documented kind, nothing hangs, and nothing dies. `make soak-real`'s seed and seconds make it longer and other.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import WebSocket from "ws";

import { waitUntil } from "../src/base/wait.ts";
import { endpointGroups } from "../src/contract/endpoints/all.ts";
import type { Endpoint } from "../src/contract/endpoints/endpoint.ts";
import { errorCodesOf } from "../src/contract/endpoints/document.ts";
import { statusOf } from "../src/contract/errors.ts";
import {
  brokenFrames,
  exchangeRaw,
  message,
  nameOf,
  requestOf,
  type FuzzRequest,
  type RawAnswer,
} from "./support/fuzz.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { isSoak, soakSeed, soakSetting } from "./support/soak-scale.ts";

/** Nothing that a fuzzer says can be wrong here: it would end the sprite, or make others. */
const tooRight: ReadonlySet<string> = new Set([
  "POST /v1/sprites",
  "DELETE /v1/sprites/{name}",
  "POST /v1/sprites/{name}/restart",
  "POST /v1/sprites/{name}/upgrade",
  "POST /v1/sprites/{name}/sleep",
  "POST /v1/sprites/{name}/repair",
  "POST /v1/sprites/{name}/restore-undo",
  "GET /v1/sprites/{name}/export",
]);
const endpoints = endpointGroups
  .flatMap((group) => group.endpoints)
  .filter((endpoint) => !tooRight.has(nameOf(endpoint)));
const sockets = endpoints.filter(({ method }) => method === "WS");
const plain = endpoints.filter(({ method }) => method !== "WS");

const seconds = soakSetting("seconds", 3);
const runs = { seed: soakSeed(), numRuns: isSoak ? 1_000_000 : 120 };
const limits = {
  ...runs,
  interruptAfterTimeLimit: seconds * 1000,
  // Slow machines do fewer.
  markInterruptAsFailure: false,
  endOnFailure: true,
};
const closeMsMax = 20_000;

let server: TestServer;
let port: number;
let agentPid: number;
before(async () => {
  server = await TestServer.start();
  port = Number(new URL(server.url).port);
  await server.client().createSprite("box");
  agentPid = (await onlyAgent()).pid;
});
after(() => server?.close());

async function onlyAgent(): Promise<{ pid: number }> {
  const [agent] = await childrenOf(server.places, "sprite");
  assert.ok(agent, "an agent runs");
  return agent;
}

/** Whatever its files have come to, the sprite runs commands, and by the same agent. */
async function assertAlive(): Promise<void> {
  const busybox = "/.sprite/bin/busybox";
  const path = `/v1/sprites/box/exec?cmd=${busybox}&cmd=echo&cmd=alive&dir=/`;
  const response = await server.request(path, { method: "POST" });
  assert.match(await response.text(), /alive\n/);
  const isSame = (await onlyAgent()).pid === agentPid;
  assert.ok(isSame, `the agent has died:\n${loggedTroubles().slice(-20).join("\n")}`);
}

/** Lines of the log that are warnings or worse. */
function loggedTroubles(): string[] {
  return server.log.filter((line) => (JSON.parse(line) as { level: number }).level >= 40);
}

const statusesOfTrouble = new Set([503, 504, 507]);

function head({ method, target, body }: Omit<FuzzRequest, "endpoint">): string {
  return [
    `${method} ${target} HTTP/1.1`,
    "Host: x",
    `Authorization: Bearer ${server.token}`,
    `Content-Length: ${body.length}`,
    "Connection: close",
    "\r\n",
  ].join("\r\n");
}

async function tryRequest(request: Omit<FuzzRequest, "endpoint">): Promise<RawAnswer> {
  const bytes = Buffer.concat([Buffer.from(head(request)), request.body]);
  const answer = await exchangeRaw(port, bytes);
  assert.notEqual(answer.status, 0, "an answer has a status");
  assert.match(answer.head, /sprite-version: /i);
  assert.doesNotMatch(answer.head, /x-injected/i);
  if (answer.status < 400) return answer;
  assert.ok(answer.status < 500 || statusesOfTrouble.has(answer.status), answer.body);
  if (request.method === "HEAD") return answer;
  const { error, message: words } = JSON.parse(answer.body) as { error: unknown; message: unknown };
  assert.ok(typeof error === "string" && error !== "");
  // Errors of files have only the one text (contract.md section 7.7).
  assert.ok(words === undefined || typeof words === "string");
  return answer;
}

/** What came is what the document says may come: the status, and the shape of whatever is JSON. */
function assertDocumented(endpoint: Endpoint, answer: RawAnswer): void {
  const { status, body } = answer;
  const where = `${endpoint.method} ${endpoint.path} answers ${status}: ${body.slice(0, 300)}`;
  if (status >= 400) {
    const statuses = [...errorCodesOf(endpoint)].map(statusOf);
    assert.ok(statuses.includes(status) || status in endpoint.answers, `not documented: ${where}`);
    return;
  }
  assert.ok(status in endpoint.answers, `not documented: ${where}`);
  const content = endpoint.answers[status];
  const isJson = /content-type: application\/json/i.test(answer.head);
  if (content?.type !== "application/json" || content.schema === undefined) return;
  if (!isJson || !answer.isWhole) return;
  const { success, error } = content.schema.safeParse(JSON.parse(body));
  assert.ok(success, `${where}\n${error?.message}`);
}

test("requests", async () => {
  const request = fc.constantFrom(...plain).chain((one) => requestOf(one, { name: "box" }));
  const attempt = async (one: FuzzRequest): Promise<void> => {
    const endpoint = endpoints.find((candidate) => nameOf(candidate) === one.endpoint);
    assert.ok(endpoint);
    assertDocumented(endpoint, await tryRequest(one));
  };
  await fc.assert(fc.asyncProperty(request, attempt), limits);
  await assertAlive();
});

test("every endpoint once with nothing, and once as something that it is not", async () => {
  const body = Buffer.from('{"x":');
  for (const endpoint of plain) {
    const target = endpoint.path.replace("{name}", "box").replace(/\{\w+\}/g, "nothing");
    assertDocumented(endpoint, await tryRequest({ method: endpoint.method, target, body }));
    if (endpoint.auth === undefined && endpoint.path.includes("{name}")) {
      await tryRequest({ method: "PATCH", target, body: Buffer.alloc(0) });
      await tryRequest({ method: endpoint.method, target: `${target}/more/than/there/is`, body });
    }
  }
  for (const endpoint of sockets) {
    const target = endpoint.path.replace("{name}", "box").replace(/\{\w+\}/g, "nothing");
    // As a plain request it is one of another kind, or none.
    await tryRequest({ method: "GET", target, body: Buffer.alloc(0) });
  }
  await assertAlive();
});

async function tryMessages(
  target: string,
  messages: ReadonlyArray<string | Buffer>,
): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${target}`, {
    headers: { authorization: `Bearer ${server.token}` },
  });
  let isOpen = false;
  let isClosed = false;
  socket.on("error", () => undefined);
  socket.on("open", () => (isOpen = true));
  socket.on("close", () => (isClosed = true));
  const opened = await waitUntil(() => isOpen || isClosed, {
    timeoutMs: closeMsMax,
    intervalMs: 2,
  });
  assert.ok(opened, `no answer to ${target}`);
  for (const one of messages) if (!isClosed) socket.send(one);
  socket.close(1000);
  const closed = await waitUntil(() => isClosed, { timeoutMs: closeMsMax, intervalMs: 2 });
  assert.ok(closed, `${target} does not close`);
}

function target(endpoint: Endpoint): fc.Arbitrary<string> {
  // The client refuses a fragment by itself.
  const rough = requestOf(endpoint, { name: "box" }).map(({ target: raw }) =>
    raw.replaceAll("#", "+"),
  );
  return fc.oneof(fc.constant(endpoint.path.replace("{name}", "box")), rough);
}

test("messages on sockets", async () => {
  const chosen = fc.constantFrom(...sockets).chain(target);
  const messages = fc.array(message, { maxLength: 6 });
  await fc.assert(fc.asyncProperty(chosen, messages, tryMessages), limits);
  await assertAlive();
});

test("frames that are none", async () => {
  const chosen = fc.constantFrom(...sockets.map(({ path }) => path.replace("{name}", "box")));
  await fc.assert(
    fc.asyncProperty(chosen, fc.array(brokenFrames, { minLength: 1, maxLength: 3 }), tryFrames),
    { ...limits, numRuns: isSoak ? limits.numRuns : 60 },
  );
  await assertAlive();
});

async function tryFrames(path: string, frames: readonly Buffer[]): Promise<void> {
  const handshake = [
    `GET ${path}?cmd=cat&stdin=true HTTP/1.1`,
    "Host: x",
    `Authorization: Bearer ${server.token}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "\r\n",
  ].join("\r\n");
  const { status } = await exchangeRaw(port, Buffer.concat([Buffer.from(handshake), ...frames]));
  assert.ok(status === 101 || (status >= 400 && status < 500), String(status));
}

test("no failure without its cause in the log", () => {
  const failures = server.log
    .map((line) => JSON.parse(line) as { level?: string | number; msg?: string; err?: unknown })
    .filter(({ msg }) => msg === "a request failed" || msg === "answer request");
  for (const failure of failures) assert.ok(failure.err, JSON.stringify(failure));
});
