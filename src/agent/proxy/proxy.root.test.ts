import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { SpritesClient } from "@fly/sprites";
import { WebSocket } from "ws";

import { waitUntil } from "../../base/wait.ts";
import { endOfInputMessage } from "../../contract/proxy.ts";
import { openExec, openPort, startTestAgent, type TestAgent } from "../api/testing.ts";
import type { ExecClient } from "../api/testing.ts";

let agent: TestAgent;
let servers: ExecClient;

/** What listens inside, each on a port of its own. */
const ports = { echo: 4001, reverse: 4002, silent: 4003, flood: 4004, talk: 4005 };
const script = `
import socket, threading, time
def serve(port, act):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port)); s.listen(4096)
    def loop():
        while True:
            c, _ = s.accept()
            threading.Thread(target=act, args=(c,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
def echo(c):
    while True:
        b = c.recv(65536)
        if not b: break
        c.sendall(b)
    c.close()
def reverse(c):
    all = b""
    while True:
        b = c.recv(65536)
        if not b: break
        all += b
    c.sendall(all[::-1]); c.close()
def silent(c):
    time.sleep(600)
def flood(c):
    block = bytes(65536)
    try:
        while True: c.sendall(block)
    except OSError as e: print("flood ended", flush=True)
def talk(c):
    c.sendall(b"x" * 3_000_000); c.close()
serve(${ports.echo}, echo)
serve(${ports.reverse}, reverse)
serve(${ports.silent}, silent)
serve(${ports.flood}, flood)
serve(${ports.talk}, talk)
print("ready", flush=True)
time.sleep(3600)
`;

before(async () => {
  agent = await startTestAgent();
  servers = openExec(agent, { cmd: ["python3", "-c", script], path: "python3" });
  const ready = (): boolean => servers.stream(1).includes("ready");
  assert.ok(await waitUntil(ready, { timeoutMs: 20_000 }), servers.stream(2).toString());
});
after(() => agent[Symbol.asyncDispose]());

class Tunnel {
  readonly socket: WebSocket;
  readonly texts: string[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  #parts: Buffer[] = [];

  constructor(first: unknown) {
    this.socket = new WebSocket(`ws+unix:${agent.socketPath}:/v1/sprites/s1/proxy`);
    this.socket.on("open", () => this.socket.send(JSON.stringify(first)));
    this.socket.on("message", (data, isBinary) => {
      if (isBinary) this.#parts.push(data as Buffer);
      else this.texts.push((data as Buffer).toString());
    });
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.socket.on("error", () => undefined);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  get answer(): Record<string, unknown> {
    return JSON.parse(this.texts[0] ?? "{}") as Record<string, unknown>;
  }

  async connected(): Promise<this> {
    assert.ok(await waitUntil(() => this.texts.length > 0, { timeoutMs: 30_000 }));
    assert.equal(this.answer["status"], "connected", this.texts[0]);
    return this;
  }
}

test("a tunnel answers with its target, and carries bytes both ways", async () => {
  const tunnel = await new Tunnel({ host: "localhost", port: ports.echo }).connected();
  assert.equal(tunnel.answer["target"], `localhost:${ports.echo}`);
  const sent = randomBytes(300_000);
  tunnel.socket.send(sent.subarray(0, 10));
  tunnel.socket.send("text after the handshake is nothing");
  tunnel.socket.send(sent.subarray(10));
  assert.ok(await waitUntil(() => tunnel.bytes.length >= sent.length, { timeoutMs: 30_000 }));
  assert.ok(tunnel.bytes.equals(sent));
  tunnel.socket.close();
  await tunnel.closed;
  assert.ok(await waitUntil(() => agent.connections.tunnels.count === 0, { timeoutMs: 30_000 }));
});

test("a message may be of any size: it goes on piece by piece", async () => {
  const tunnel = await new Tunnel({ port: ports.echo }).connected();
  const sent = randomBytes(20_000_000);
  tunnel.socket.send(sent);
  assert.ok(await waitUntil(() => tunnel.bytes.length >= sent.length, { timeoutMs: 20_000 }));
  assert.ok(tunnel.bytes.equals(sent));
  tunnel.socket.ping("still there?");
  const [answer] = (await once(tunnel.socket, "pong")) as [Buffer];
  assert.equal(answer.toString(), "still there?");
  tunnel.socket.close(1000, "bye");
  assert.equal((await tunnel.closed).code, 1000);
});

test("a client that goes on sending after a refusal, or breaks the protocol, costs nothing", async () => {
  const refused = new Tunnel({ port: 70_000 });
  await once(refused.socket, "open");
  for (let n = 0; n < 200; n += 1) refused.socket.send(Buffer.alloc(100_000));
  assert.equal((await refused.closed).code, 1008);
  const broken = await new Tunnel({ port: ports.echo }).connected();
  const raw = (broken.socket as unknown as { _socket: Socket })._socket;
  raw.write(Buffer.of(0x82, 0x01, 0x00));
  assert.equal((await broken.closed).code, 1002);
  assert.ok(
    await waitUntil(() => agent.connections.tunnels.queuedBytes === 0, { timeoutMs: 30_000 }),
  );
});

test("bytes that follow the first message at once arrive behind it", async () => {
  const tunnel = new Tunnel({ port: ports.echo });
  await once(tunnel.socket, "open");
  // In one read with it, or in the next one.
  tunnel.socket.send(Buffer.from("early"));
  assert.ok(
    await waitUntil(() => tunnel.bytes.equals(Buffer.from("early")), { timeoutMs: 30_000 }),
  );
  tunnel.socket.close();
});

test("the target's end comes behind its last byte, as a close with code 1000", async () => {
  const tunnel = new Tunnel({ host: "127.0.0.1", port: ports.talk });
  assert.equal((await tunnel.closed).code, 1000);
  assert.equal(tunnel.bytes.length, 3_000_000);
});

test("half-close: the client's end of input reaches the target, and the answer comes back", async () => {
  const tunnel = await new Tunnel({ port: ports.reverse, half_close: true }).connected();
  tunnel.socket.send(Buffer.from("abc"));
  tunnel.socket.send(endOfInputMessage);
  assert.ok(await waitUntil(() => tunnel.texts.includes(endOfInputMessage), { timeoutMs: 30_000 }));
  assert.equal(tunnel.bytes.toString(), "cba");
  assert.equal((await tunnel.closed).code, 1000);
});

test("what cannot be reached is told in words, and in a code that programs know", async () => {
  const cases: ReadonlyArray<readonly [unknown, string, RegExp]> = [
    [{ port: 4999 }, "connection_refused", /^connection refused$/],
    [{ host: "192.0.2.1", port: 80 }, "unreachable", /unreachable/],
    [{ host: "no-such-host.invalid", port: 80 }, "name_not_found", /no such host/],
    [{ host: "x y", port: 80 }, "invalid_request", /host/],
    [{ host: "localhost", port: 70_000 }, "invalid_request", /port/],
    ["text", "invalid_request", /no object/],
  ];
  for (const [first, code, error] of cases) {
    const tunnel = new Tunnel(first);
    const end = await tunnel.closed;
    assert.equal(tunnel.answer["status"], "error", JSON.stringify(first));
    assert.equal(tunnel.answer["code"], code, tunnel.texts[0]);
    assert.match(String(tunnel.answer["error"]), error);
    assert.notEqual(end.code, 1000);
  }
});

test("names are looked up inside: in the sprite's own hosts file", async () => {
  await agent.container.runAsRoot([...["sh", "-c", "echo '127.0.0.1 my-database' >> /etc/hosts"]]);
  const tunnel = await new Tunnel({ host: "my-database", port: ports.echo }).connected();
  assert.equal(tunnel.answer["target"], `my-database:${ports.echo}`);
  tunnel.socket.close();
});

test("contract 9.1: the official client's ports lead into the sprite", async () => {
  const { url, server } = await openPort(agent);
  const client = new SpritesClient("token", { baseURL: url });
  const session = await client.sprite("s1").proxyPorts([{ localPort: 0, remotePort: ports.echo }]);
  try {
    const port = Number(session[0]?.localAddr()?.split(":")[1]);
    const local = connect({ port, host: "localhost" });
    const sent = randomBytes(2_000_000);
    const hash = createHash("sha256");
    let received = 0;
    local.on("data", (bytes: Buffer) => {
      received += bytes.length;
      hash.update(bytes);
    });
    local.write(sent);
    assert.ok(await waitUntil(() => received >= sent.length, { timeoutMs: 30_000 }));
    assert.equal(hash.digest("hex"), createHash("sha256").update(sent).digest("hex"));
    local.destroy();
  } finally {
    for (const one of session) one.close();
    server.close();
  }
});

test("a side that does not read costs less than a megabyte, whichever it is", async () => {
  const deaf = await new Tunnel({ port: ports.silent }).connected();
  const raw = (deaf.socket as unknown as { _socket: { writableLength: number } })._socket;
  const block = Buffer.alloc(256 * 1024);
  let sent = 0;
  // Nobody reads at the far end: what the kernel does not take stays with the sender.
  while (sent < 64 * 1024 * 1024) {
    deaf.socket.send(block);
    sent += block.length;
  }
  const flooded = await new Tunnel({ port: ports.flood }).connected();
  flooded.socket.pause();
  await quietAfter(() => raw.writableLength);
  // All of it is held by kernels and by the sender; the agent, which is this process, holds little.
  assert.ok(raw.writableLength > 40 * 1024 * 1024, String(raw.writableLength));
  assert.ok(flooded.bytes.length < 8 * 1024 * 1024, String(flooded.bytes.length));
  assert.ok(
    agent.connections.tunnels.queuedBytes < 2 * 1024 * 1024,
    String(agent.connections.tunnels.queuedBytes),
  );
  deaf.socket.terminate();
  flooded.socket.terminate();
  const ended = (): boolean => servers.stream(1).includes("flood ended");
  assert.ok(await waitUntil(ended, { timeoutMs: 30_000 }));
});

test("300 tunnels at once, each with its own bytes", async () => {
  const tunnels = await Promise.all(
    Array.from({ length: 300 }, () => new Tunnel({ port: ports.echo }).connected()),
  );
  for (const [n, { socket }] of tunnels.entries()) socket.send(Buffer.from(`tunnel ${n}`));
  const isDone = (): boolean =>
    tunnels.every((tunnel, n) => tunnel.bytes.toString() === `tunnel ${n}`);
  assert.ok(await waitUntil(isDone, { timeoutMs: 20_000 }));
  agent.connections.tunnels.endAll("the sprite is stopping");
  for (const { closed } of tunnels) {
    assert.deepEqual(await closed, { code: 1001, reason: "the sprite is stopping" });
  }
  assert.ok(await waitUntil(() => agent.connections.tunnels.count === 0, { timeoutMs: 30_000 }));
});

/** Waits until a figure has stopped changing. */
async function quietAfter(figure: () => number): Promise<void> {
  let last = -1;
  const isQuiet = (): boolean => {
    const now = figure();
    const same = now === last;
    last = now;
    return same;
  };
  assert.ok(await waitUntil(isQuiet, { timeoutMs: 10_000, intervalMs: 300 }));
}
