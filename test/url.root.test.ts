/** Sprites' URLs on the real stack: through sleep, services that start late, and the death of an agent. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { after, before, test } from "node:test";
import { buffer } from "node:stream/consumers";
import type { Sprite } from "@fly/sprites";
import { WebSocket } from "ws";

import { waitUntil } from "../src/base/wait.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { spriteUrl, type SpriteUrl } from "./support/sprite-url.ts";

const waitMs = 60_000;

let server: TestServer;
let sprite: Sprite;
let web: SpriteUrl;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("web");
  web = await spriteUrl(server, "web");
});
after(() => server?.close());

const echo = `
import hashlib, base64, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.headers.get("upgrade") == "websocket":
            key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("upgrade", "websocket")
            self.send_header("connection", "Upgrade")
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.send_header("sec-websocket-accept", accept)
            self.end_headers()
            self.wfile.write(bytes([0x81, 2]) + b"hi")
            self.wfile.flush()
            self.rfile.read(1)
            self.close_connection = True
            return
        self.answer((self.path + " " + str(self.headers.get("authorization"))).encode())
    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["content-length"])))
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
`;

async function told(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

async function serve(
  name: string,
  port: number,
  options: { httpPort?: number } = {},
): Promise<void> {
  const args = ["-c", echo.replace("PORT", String(port))];
  await told(await sprite.createService(name, { cmd: "python3", args, ...options }, "0s"));
}

test("contract 15.20: the url field is where the sprite answers, and nothing that listens is a 502", async () => {
  const { status, body } = await web.get("/");
  assert.equal(status, 502);
  assert.equal((JSON.parse(body) as { error: string }).error, "nothing_listening");
});

test("port 8080 is reached without a service's port, and one that has a port is preferred", async () => {
  await serve("plain", 8080);
  assert.deepEqual(await web.get("/a?b"), { status: 200, body: "/a?b None" });
  await serve("named", 3000, { httpPort: 3000 });
  await told(await sprite.stopService("plain"));
  const reachesNamed = async (): Promise<boolean> => (await web.get("/b")).status === 200;
  assert.ok(await waitUntil(reachesNamed, { timeoutMs: waitMs }));
});

test("a stopped service is started by a request for it, and HTTP/2 carries a body both ways", async () => {
  await told(await sprite.stopService("named"));
  assert.equal((await web.get("/c")).body, "/c None");
  const session = web.http2();
  const bytes = Buffer.alloc(3_000_000, "sprite");
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/", authorization: `Bearer ${server.token}` },
    "content-length": bytes.length,
  });
  stream.end(bytes);
  assert.ok((await buffer(stream)).equals(bytes));
  session.destroy();
});

test("a request wakes a cold sprite and waits for its service", async () => {
  const sleep = await server.request("/v1/sprites/web/sleep", { method: "POST" });
  assert.equal(sleep.status, 200, await sleep.text());
  const cold = (await (await server.request("/v1/sprites/web")).json()) as { status: string };
  assert.equal(cold.status, "cold");
  const answers = await Promise.all([web.get("/1"), web.get("/2"), web.get("/3")]);
  assert.deepEqual(
    answers.map(({ body }) => body),
    ["/1 None", "/2 None", "/3 None"],
  );
});

test("a WebSocket hears that its sprite goes away, and the next one wakes it", async () => {
  const open = async (): Promise<WebSocket> => {
    const { host, port } = web.options();
    const socket = new WebSocket(`wss://${host}:${port}/ws`, web.options());
    const [message] = (await once(socket, "message")) as [Buffer];
    assert.equal(String(message), "hi");
    return socket;
  };
  const socket = await open();
  const closed = once(socket, "close") as Promise<[number]>;
  assert.equal((await server.request("/v1/sprites/web/sleep", { method: "POST" })).status, 200);
  assert.equal((await closed)[0], 1001);
  (await open()).terminate();
});

test("an idle WebSocket does not keep its sprite awake, hears of its pause, and the next request wakes it", async () => {
  const setWindow = async (idle_window: string): Promise<void> => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ idle_window });
    const answer = await server.request("/v1/sprites/web", { method: "PUT", headers, body });
    assert.equal(answer.status, 200, await answer.text());
  };
  const { host, port } = web.options();
  const socket = new WebSocket(`wss://${host}:${port}/ws`, web.options());
  await once(socket, "message");
  const closed = once(socket, "close") as Promise<[number]>;
  await setWindow("1s");
  assert.equal((await closed)[0], 1001);
  assert.equal((await web.get("/again")).body, "/again None");
  await setWindow("default");
});

test("when an agent dies its requests end, and the next is served by the agent that takes over", async () => {
  assert.equal((await web.get("/before")).status, 200);
  const [agent] = await childrenOf(server.places, "sprite");
  process.kill(agent?.pid ?? 0, "SIGKILL");
  // One that was under way is broken off.
  const ask = () => web.get("/after").catch(() => ({ body: "" }));
  const isBack = async (): Promise<boolean> => (await ask()).body === "/after None";
  assert.ok(await waitUntil(isBack, { timeoutMs: waitMs }));
});

test("the API answers by its own name on the same port", async () => {
  const { port } = web.options();
  const domain = web.host.replace(/^[^.]+\./, "").replace(/:\d+$/, "");
  const servername = `api.${domain}`;
  const api = { ...web.options({ host: `${servername}:${port}` }), servername };
  const asking = httpsRequest({ ...api, path: "/v1/sprites/web" });
  asking.end();
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  const body = JSON.parse(String(await buffer(response))) as { url: string };
  assert.equal(body.url, `https://${web.host}`);
});
