import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { createLog } from "../base/log.ts";
import { listenOnOnePort, startDnsForwarder, type DnsForwarder } from "./dns-forwarder.ts";

const log = createLog({ level: "silent", room: "test" });
let directory: string;
let upstreamPort = 0;
let forwarder: DnsForwarder;
const upstreamUdp = createSocket("udp4");
const upstreamTcp = createServer((stream) => {
  stream.on("data", (bytes) => stream.end(Buffer.concat([Buffer.from("tcp:"), bytes])));
});

/** A header with an id, the flag "recursion desired", and one question. */
const question = (id: number): Buffer =>
  Buffer.concat([
    Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    Buffer.from("name"),
  ]);

const resolvers = (...addresses: string[]): void =>
  writeFileSync(
    join(directory, "resolv.conf"),
    `# comment\n${addresses.map((address) => `nameserver ${address}\n`).join("")}`,
  );

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "dns-"));
  upstreamPort = await listenOnOnePort(upstreamTcp, upstreamUdp, "127.0.0.1");
  upstreamUdp.on("message", (bytes, from) => {
    const answer = Buffer.concat([bytes, Buffer.from("!")]);
    answer.writeUInt8(answer.readUInt8(2) | 0x80, 2);
    // An answer to another question comes first, and must not be taken for ours.
    const wrong = Buffer.from(answer);
    wrong.writeUInt16BE(wrong.readUInt16BE(0) ^ 1, 0);
    upstreamUdp.send(wrong, from.port, from.address);
    upstreamUdp.send(answer, from.port, from.address);
  });
  resolvers("127.0.0.1");
  forwarder = await startDnsForwarder(
    { address: "127.0.0.1", resolverFile: join(directory, "resolv.conf"), upstreamPort },
    log,
  );
});

test("a port that UDP or TCP has taken already is not the one", async () => {
  const takers: Socket[] = [];
  const server = createServer();
  // Somebody is faster twice.
  server.once("listening", () => takers.push(take(server)));
  server.on("close", () => {
    if (takers.length < 2) server.once("listening", () => takers.push(take(server)));
  });
  const socket = createSocket("udp4");
  const port = await listenOnOnePort(server, socket, "127.0.0.1");
  assert.equal(socket.address().port, port);
  assert.equal(takers.length, 2);
  for (const taker of [socket, ...takers]) taker.close();
  server.close();
});

function take(server: Server): Socket {
  const socket = createSocket("udp4");
  socket.bind({
    port: (server.address() as AddressInfo).port,
    address: "127.0.0.1",
    exclusive: true,
  });
  return socket;
}

after(async () => {
  await forwarder.close();
  upstreamUdp.close();
  upstreamTcp.close();
  rmSync(directory, { recursive: true });
});

async function ask(message: Buffer): Promise<Buffer> {
  const socket = createSocket("udp4");
  socket.send(message, forwarder.port, "127.0.0.1");
  const [answer] = (await once(socket, "message", { signal: AbortSignal.timeout(3000) })) as [
    Buffer,
  ];
  socket.close();
  return answer;
}

test("hands each asker the answer to its own question", async () => {
  const ids = Array.from({ length: 50 }, (_, index) => index * 7);
  const answers = await Promise.all(ids.map((id) => ask(question(id))));
  for (const [index, answer] of answers.entries()) {
    assert.equal(answer.readUInt16BE(0), ids[index]);
    assert.equal(answer.toString("latin1").at(-1), "!");
  }
});

test("passes TCP through, byte for byte", async () => {
  const stream = connect({ port: forwarder.port, host: "127.0.0.1" });
  stream.write("bytes");
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  assert.equal(Buffer.concat(chunks).toString(), "tcp:bytes");
});

test("asks all resolvers, so that a dead one costs nothing", async () => {
  resolvers("127.0.0.2", "127.0.0.1");
  assert.equal((await ask(question(5))).toString("latin1").at(-1), "!");
});

test("says so at once when no resolver answers or none is named", async () => {
  for (const addresses of [["127.0.0.2"], []]) {
    resolvers(...addresses);
    const answer = await ask(question(9));
    assert.equal(answer.readUInt16BE(0), 9);
    assert.equal(answer.readUInt8(2) & 0x80, 0x80);
    assert.equal(answer.readUInt8(3) & 0x0f, 2);
  }
});

test("survives what is no question", async () => {
  resolvers("127.0.0.1");
  const socket = createSocket("udp4");
  for (const bytes of ["", "x", "short"]) socket.send(bytes, forwarder.port, "127.0.0.1");
  assert.equal((await ask(question(11))).readUInt16BE(0), 11);
  socket.close();
});

test("its TCP port is the one it tells", () => {
  assert.ok(forwarder.port > 0 && forwarder.port !== (upstreamTcp.address() as AddressInfo).port);
});
