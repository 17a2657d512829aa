/** Clients that are slow, or leave in the middle. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import test, { after, before } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";

import { waitUntil } from "../base/wait.ts";
import { startEdgeRig, webHost, type EdgeRig } from "./testing/edge-rig.ts";
import { addressBlockOf } from "./tls-port.ts";

const waitMs = 30_000;

let inside: Server;
let rig: EdgeRig;
const uploads: { bytes: number; state: "open" | "whole" | "broken" }[] = [];

before(async () => {
  inside = createServer(onRequest);
  inside.listen(0, "127.0.0.1");
  await once(inside, "listening");
  const { port } = inside.address() as AddressInfo;
  rig = await startEdgeRig({ insidePort: port, headersTimeoutMs: 300 });
});

after(async () => {
  await rig[Symbol.asyncDispose]();
  inside.closeAllConnections();
  inside.close();
});

function onRequest(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === "/no-content") {
    // Node would not write this length.
    const head = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
    request.socket.end(head);
    return;
  }
  if (request.url === "/twice") {
    request.socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok");
    return;
  }
  if (request.url === "/continue") {
    request.socket.end(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    return;
  }
  const upload: (typeof uploads)[number] = { bytes: 0, state: "open" };
  uploads.push(upload);
  request.on("data", (bytes: Buffer) => (upload.bytes += bytes.length));
  request.on("error", () => undefined);
  request.once("close", () => (upload.state = request.complete ? "whole" : "broken"));
  request.once("end", () => response.end("ok"));
}

async function open(protocol: "http/1.1" | "h2"): Promise<TLSSocket> {
  const place = { host: "127.0.0.1", port: rig.port, servername: webHost, ca: rig.authorityPem };
  const socket = connectTls({ ...place, ALPNProtocols: [protocol] });
  await once(socket, "secureConnect");
  socket.on("error", () => undefined);
  return socket;
}

async function answerTo(request: string): Promise<string> {
  const socket = await open("http/1.1");
  let got = "";
  socket.on("data", (bytes: Buffer) => (got += bytes.toString("latin1")));
  socket.write(`${request} HTTP/1.1\r\nHost: ${webHost}\r\nConnection: close\r\n\r\n`);
  await once(socket, "close");
  return got;
}

test("a client that says nothing, or its headers a byte at a time, is let go", async () => {
  const silent = await open("http/1.1");
  silent.resume();
  const slow = await open("http/1.1");
  slow.resume();
  slow.write(`GET / HTTP/1.1\r\nHost: ${webHost}\r\nX-Slow: `);
  const drip = setInterval(() => slow.write("a"), 20);
  const before = uploads.length;
  await Promise.all([once(silent, "close"), once(slow, "close")]);
  clearInterval(drip);
  assert.equal(uploads.length, before, "the sprite heard of neither");
});

test("an upload that its client takes back is not whole inside, of either version of HTTP", async () => {
  const piece = Buffer.alloc(50_000, 1);
  const arrived = async (index: number): Promise<void> => {
    assert.ok(await waitUntil(() => uploads[index]?.bytes === piece.length, { timeoutMs: waitMs }));
  };
  const broken = async (index: number): Promise<void> => {
    const isOver = (): boolean => uploads[index]?.state !== "open";
    assert.ok(await waitUntil(isOver, { timeoutMs: waitMs }));
    assert.equal(uploads[index]?.state, "broken");
  };
  const first = uploads.length;
  const socket = await open("h2");
  const session = connectHttp2(`https://${webHost}`, { createConnection: () => socket });
  session.on("error", () => undefined);
  const stream = session.request({ ":method": "POST", ":path": "/" });
  stream.on("error", () => undefined);
  stream.write(piece);
  await arrived(first);
  stream.close(8);
  await broken(first);

  const another = session.request({ ":method": "POST", ":path": "/" });
  another.on("error", () => undefined);
  another.write(piece);
  await arrived(first + 1);
  session.destroy();
  await broken(first + 1);

  const plain = await open("http/1.1");
  plain.write(`POST / HTTP/1.1\r\nHost: ${webHost}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  plain.write(`${piece.length.toString(16)}\r\n`);
  plain.write(piece);
  await arrived(first + 2);
  plain.destroy();
  await broken(first + 2);
});

test("lengths that a sprite says wrongly, and answers that nobody waits for, do not reach the client", async () => {
  assert.doesNotMatch(await answerTo("GET /no-content"), /content-length/i);
  const twice = await answerTo("GET /twice");
  assert.deepEqual(twice.match(/content-length: .*/gi), ["content-length: 2"]);
  assert.match(await answerTo("GET /continue"), /^HTTP\/1\.1 200 /);
});

test("a client's whole share of IPv6 counts as one address", () => {
  assert.equal(addressBlockOf("192.0.2.1"), "192.0.2.1");
  const block = addressBlockOf("2001:db8:1:2:3:4:5:6");
  for (const other of ["2001:db8:1:2::9", "2001:db8:1:2:ffff::", "2001:db8:1:2::%eth0"]) {
    assert.equal(addressBlockOf(other), block, other);
  }
  assert.notEqual(addressBlockOf("2001:db8:1:3::9"), block);
  assert.equal(addressBlockOf("::1"), addressBlockOf("::2"));
});
