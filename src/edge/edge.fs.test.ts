import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest, type RequestOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer, text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import test, { after, before } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket, WebSocketServer } from "ws";

import { waitUntil } from "../base/wait.ts";
import { busyNoteMs } from "./limits.ts";
import { startEdgeRig, testDomain, webHost, type EdgeRig } from "./testing/edge-rig.ts";

let inside: Server;
let rig: EdgeRig;
let requests = 0;
/** Of the last request for `/break`. */
let breakOff: () => void = () => undefined;

before(async () => {
  inside = createServer(onRequest);
  const webSockets = new WebSocketServer({ server: inside });
  webSockets.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  inside.listen(0, "127.0.0.1");
  await once(inside, "listening");
  rig = await startEdgeRig({ insidePort: (inside.address() as AddressInfo).port });
});

after(async () => {
  await rig[Symbol.asyncDispose]();
  inside.closeAllConnections();
  inside.close();
});

function onRequest(request: IncomingMessage, response: ServerResponse): void {
  requests += 1;
  const path = request.url ?? "";
  if (path.startsWith("/echo")) {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    request.pipe(response);
  } else if (path === "/headers") {
    response.setHeader("content-type", "application/json");
    response.setHeader("set-cookie", ["a=1", "b=2"]);
    response.end(JSON.stringify(request.rawHeaders));
  } else if (path === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: one\n\n");
    response.once("close", () => response.end());
  } else if (path === "/early") {
    response.writeHead(413, { "content-type": "text/plain" });
    response.end("too much");
  } else if (path === "/trailers") {
    response.writeHead(200, { trailer: "x-sum" });
    response.write("body");
    response.addTrailers({ "x-sum": "42" });
    response.end();
  } else if (path === "/break") {
    response.writeHead(200, { "content-length": "100" });
    response.write("half");
    breakOff = () => request.socket.destroy();
  } else if (path === "/big") {
    const piece = Buffer.alloc(65_536, 7);
    let left = 512;
    const send = (): void => {
      while (left > 0) {
        left -= 1;
        if (!response.write(piece)) return void response.once("drain", send);
      }
      response.end();
    };
    send();
  } else if (path === "/empty") {
    response.writeHead(204).end();
  } else {
    response.end(`hello ${path}`);
  }
}

function tlsOptions(host = webHost): RequestOptions {
  return { host: "127.0.0.1", port: rig.port, servername: host, ca: rig.authorityPem };
}

async function get(
  path: string,
  options: RequestOptions = {},
): Promise<{
  status: number;
  headers: IncomingMessage["headers"];
  body: string;
  trailers: object;
}> {
  const headers = { host: webHost, ...(options.headers as object) };
  const request = httpsRequest({ ...tlsOptions(), agent: false, ...options, path, headers });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const body = await text(response);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body,
    trailers: response.trailers,
  };
}

async function raw(bytes: string, host = webHost): Promise<string> {
  const socket = connectTls({
    ...tlsOptions(host),
    ALPNProtocols: ["http/1.1"],
  } as object);
  await once(socket, "secureConnect");
  socket.write(bytes);
  let got = "";
  socket.setEncoding("latin1");
  socket.on("data", (part: string) => (got += part));
  await once(socket, "close");
  return got;
}

test("HTTP/1.1 reaches the sprite's server, with what it should know of the client", async () => {
  const forged = {
    "x-forwarded-for": "6.6.6.6",
    forwarded: "for=6.6.6.6",
    X_Forwarded_Host: "evil",
    "x-real-ip": "6.6.6.6",
    cookie: "mine=1",
    connection: "close, x-dropped",
    "x-dropped": "yes",
  };
  const { status, body, headers } = await get("/headers", { headers: forged });
  assert.equal(status, 200);
  assert.deepEqual(headers["set-cookie"], ["a=1", "b=2"]);
  const list = JSON.parse(body) as string[];
  const seen = Object.fromEntries(
    list.flatMap((name, index) => (index % 2 === 0 ? [[name, list[index + 1]]] : [])),
  );
  assert.deepEqual(seen, {
    host: webHost,
    cookie: "mine=1",
    "x-forwarded-for": "127.0.0.1",
    "x-real-ip": "127.0.0.1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": webHost,
    "x-forwarded-port": "443",
    connection: "keep-alive",
  });
});

test("HEAD, 204 and trailers keep their form", async () => {
  const head = await get("/echo", { method: "HEAD" });
  assert.deepEqual([head.status, head.body], [200, ""]);
  assert.deepEqual([(await get("/empty")).status, (await get("/empty")).body], [204, ""]);
  const { body, trailers } = await get("/trailers", { headers: { te: "trailers" } });
  assert.deepEqual([body, trailers], ["body", { "x-sum": "42" }]);
});

test("connections into the sprite are kept and used again", async () => {
  for (let count = 0; count < 5; count += 1) await get("/");
  const before = rig.inside.connections;
  for (let count = 0; count < 20; count += 1) assert.equal((await get("/x")).body, "hello /x");
  assert.ok(rig.inside.connections - before <= 1, `${rig.inside.connections - before} connections`);
});

test("a body goes in and comes out, of both framings, and 100-continue is asked of the sprite", async () => {
  const bytes = Buffer.alloc(3_000_000, "abc");
  for (const headers of [{ "content-length": bytes.length }, { expect: "100-continue" }, {}]) {
    const request = httpsRequest({
      ...{ ...tlsOptions(), agent: false, method: "POST", path: "/echo" },
      headers: { host: webHost, ...headers },
    });
    if ("expect" in headers) {
      request.flushHeaders();
      await once(request, "continue");
    }
    request.end(bytes);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    assert.ok((await buffer(response)).equals(bytes));
  }
});

test("the first byte of a stream of events comes at once", async () => {
  const request = httpsRequest({
    ...tlsOptions(),
    agent: false,
    path: "/events",
    headers: { host: webHost },
  });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const [first] = (await once(response, "data")) as [Buffer];
  assert.equal(String(first), "data: one\n\n");
  request.on("error", () => undefined);
  request.destroy();
});

test("a client that reads slowly slows the sprite down, and loses nothing", async () => {
  const request = httpsRequest({
    ...tlsOptions(),
    agent: false,
    path: "/big",
    headers: { host: webHost },
  });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  await delay(100);
  assert.equal((await buffer(response)).length, 512 * 65_536);
});

test("an early answer reaches a client that still sends", async () => {
  const request = httpsRequest({
    ...tlsOptions(),
    agent: false,
    method: "POST",
    path: "/early",
    headers: { host: webHost },
  });
  request.on("error", () => undefined);
  request.write(Buffer.alloc(100_000));
  const [response] = (await once(request, "response")) as [IncomingMessage];
  assert.deepEqual([response.statusCode, await text(response)], [413, "too much"]);
  request.destroy();
});

test("an answer that the sprite breaks off is seen to be broken", async () => {
  const request = httpsRequest({
    ...tlsOptions(),
    agent: false,
    path: "/break",
    headers: { host: webHost },
  });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const rest = text(response);
  breakOff();
  await assert.rejects(rest);
});

test("HTTP/2 carries requests, bodies, trailers and many streams", async () => {
  const session = connectHttp2(`https://${webHost}`, {
    createConnection: () => connectTls({ ...tlsOptions(), ALPNProtocols: ["h2"] } as object),
  });
  const ask = async (
    path: string,
    body?: Buffer,
  ): Promise<{ status: unknown; body: Buffer; trailers: unknown }> => {
    const stream = session.request({
      ":path": path,
      ":method": body === undefined ? "GET" : "POST",
      cookie: "a=1",
    });
    let trailers: unknown = null;
    stream.on("trailers", (got) => (trailers = Object.entries(got as object)));
    if (body !== undefined) stream.write(body);
    stream.end();
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    return { status: headers[":status"], body: await buffer(stream), trailers };
  };
  assert.equal(String((await ask("/a?b=c")).body), "hello /a?b=c");
  const bytes = Buffer.alloc(2_000_000, "xyz");
  assert.ok((await ask("/echo", bytes)).body.equals(bytes));
  assert.deepEqual((await ask("/trailers")).trailers, [["x-sum", "42"]]);
  assert.equal((await ask("/early", bytes)).status, 413);
  const many = await Promise.all(Array.from({ length: 60 }, (_, index) => ask(`/${index}`)));
  assert.deepEqual(
    many.map(({ body }) => String(body)),
    many.map((_, index) => `hello /${index}`),
  );
  const host = session.request({ ":path": "/", ":authority": `other-b7k2.${testDomain}` });
  const [headers] = (await once(host, "response")) as [Record<string, unknown>];
  assert.equal(headers[":status"], 421);
  host.resume();
  session.destroy();
});

test("WebSockets pass over HTTP/1.1 and over HTTP/2, and end with 1001 when the sprite goes away", async () => {
  const socket = new WebSocket(`wss://127.0.0.1:${rig.port}/ws`, {
    ...(tlsOptions() as object),
    headers: { host: webHost },
  });
  await once(socket, "open");
  socket.send("hello");
  const [message] = (await once(socket, "message")) as [Buffer];
  assert.equal(String(message), "hello");

  const session = connectHttp2(`https://${webHost}`, {
    createConnection: () => connectTls({ ...tlsOptions(), ALPNProtocols: ["h2"] } as object),
  });
  await once(session, "remoteSettings");
  const stream = session.request({
    ...{ ":method": "CONNECT", ":protocol": "websocket", ":path": "/ws", ":scheme": "https" },
    ...{ ":authority": webHost, "sec-websocket-version": "13" },
  });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  assert.equal(headers[":status"], 200);
  // A masked text frame "hi", and the echo of it.
  stream.write(Buffer.from([0x81, 0x82, 1, 2, 3, 4, 0x69, 0x6b]));
  const [echo] = (await once(stream, "data")) as [Buffer];
  assert.deepEqual([...echo], [0x81, 2, 0x68, 0x69]);

  const closed = once(socket, "close") as Promise<[number, Buffer]>;
  const goodbye = once(stream, "data") as Promise<[Buffer]>;
  rig.inside.end({ end: "paused", reason: "asleep" });
  assert.equal((await closed)[0], 1001);
  assert.deepEqual([...(await goodbye)[0].subarray(0, 4)].slice(0, 1), [0x88]);
  session.destroy();
});

test("requests that two readers could read differently are refused", async () => {
  const host = `Host: ${webHost}\r\n`;
  const first = (answer: string): string => answer.split("\r\n")[0] ?? "";
  const bad: [string, number][] = [
    [`GET / HTTP/1.1\r\n${host}Host: evil\r\n\r\n`, 400],
    [`GET / HTTP/1.1\r\n\r\n`, 400],
    [
      `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    [`POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`, 400],
    [`POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 400],
    [`POST / HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 400],
    [`GET http://evil.${testDomain}/ HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, 421],
    [`GET / HTTP/1.1\r\nHost: other-b7k2.${testDomain}\r\nConnection: close\r\n\r\n`, 421],
    [`TRACE / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, 405],
    [`GET / HTTP/1.1\r\n${host}X: ${"x".repeat(70_000)}\r\n\r\n`, 431],
    [`GET / HTTP/1.1\r\n${host}A : b\r\n\r\n`, 400],
    [`hello\r\n\r\n`, 400],
  ];
  const before = requests;
  for (const [bytes, status] of bad) {
    const answer = await raw(bytes.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert.match(
      first(answer),
      new RegExp(`^HTTP/1.1 ${status}`),
      JSON.stringify(bytes.slice(0, 200)),
    );
  }
  assert.equal(requests, before, "none of them reached the sprite");
  const absolute = await raw(
    `GET https://${webHost}/a HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  );
  assert.match(absolute, /hello \/a/);
});

test("what the edge answers itself is a page for people and JSON for programs", async () => {
  const unknown = {
    ...tlsOptions(`nobody-b7k2.${testDomain}`),
    headers: { host: `nobody-b7k2.${testDomain}` },
  };
  const json = await get("/", unknown);
  assert.equal(json.status, 404);
  assert.equal((JSON.parse(json.body) as { error: string }).error, "not_found");
  const page = await get("/", { ...unknown, headers: { ...unknown.headers, accept: "text/html" } });
  assert.match(page.body, /<h1>There is no sprite at this address<\/h1>/);
  const { port } = rig.inside;
  rig.inside.port = null;
  rig.inside.end({ end: "paused", reason: "asleep" });
  const nothing = await get("/", { headers: { accept: "text/html" } });
  assert.equal(nothing.status, 502);
  assert.match(nothing.body, /--http-port/);
  rig.inside.port = port;
  assert.equal((await get("/")).status, 200);
});

test("a request waits for its sprite; what breaks meanwhile is tried again when nothing was sent", async () => {
  const gate = Promise.withResolvers<void>();
  rig.inside.gate = gate.promise;
  rig.inside.end({ end: "ended", reason: "cold" });
  const asks = rig.inside.asks;
  const answers = Promise.all([get("/1"), get("/2"), get("/3")]);
  assert.ok(await waitUntil(() => rig.inside.asks > asks, { timeoutMs: 30_000 }));
  gate.resolve();
  assert.deepEqual(
    (await answers).map(({ body }) => body),
    ["hello /1", "hello /2", "hello /3"],
  );
  assert.equal(rig.inside.asks, asks + 1, "concurrent wakes are one");
});

test("the agent hears of requests that wait and of connections with traffic", async () => {
  rig.notes.length = 0;
  const socket = new WebSocket(`wss://127.0.0.1:${rig.port}/ws`, {
    ...(tlsOptions() as object),
    headers: { host: webHost },
  });
  await once(socket, "open");
  socket.send("x".repeat(500));
  assert.ok(
    await waitUntil(() => rig.notes.some(({ connections }) => connections > 0), {
      timeoutMs: 30_000,
    }),
  );
  // What came and its echo may be noted one after the other.
  let count: number;
  do {
    count = rig.notes.length;
    await delay(2 * busyNoteMs);
  } while (rig.notes.length > count);
  socket.send("p");
  await once(socket, "message");
  await delay(2 * busyNoteMs);
  assert.equal(rig.notes.length, count, "a ping is no traffic");
  socket.terminate();
});
