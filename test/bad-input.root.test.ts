/** Bad input gets the documented error and harms nothing (contract.md section 14). */
import assert from "node:assert/strict";
import { connect as connectTcp } from "node:net";
import { after, before, test } from "node:test";
import { TestServer } from "./support/server.ts";

let server: TestServer;
before(async () => {
  server = await TestServer.start();
  await server.client().createSprite("target");
});
after(() => server?.close());

interface BadRequest {
  method: string;
  path: string;
  body?: string;
  status: number;
  code: string;
}

const sprite = "/v1/sprites/target";
const badRequests: BadRequest[] = [
  { method: "POST", path: "/v1/sprites", body: "{", status: 400, code: "invalid_request" },
  { method: "POST", path: "/v1/sprites", body: "[]", status: 400, code: "invalid_request" },
  { method: "POST", path: "/v1/sprites", body: "{}", status: 400, code: "invalid_request" },
  { method: "POST", path: "/v1/sprites", body: '{"name":7}', status: 400, code: "invalid_request" },
  {
    method: "POST",
    path: "/v1/sprites",
    body: '{"name":"../x"}',
    status: 400,
    code: "invalid_request",
  },
  {
    method: "POST",
    path: "/v1/sprites",
    body: '{"name":"Upper"}',
    status: 400,
    code: "invalid_request",
  },
  {
    method: "POST",
    path: "/v1/sprites",
    body: '{"name":"ok-name","environment":{"A":1}}',
    status: 400,
    code: "invalid_request",
  },
  {
    method: "POST",
    path: "/v1/sprites",
    body: '{"name":"target"}',
    status: 409,
    code: "already_exists",
  },
  { method: "GET", path: "/v1/sprites/unknown", status: 404, code: "not_found" },
  { method: "GET", path: "/v1/sprites/..%2f..%2fetc%2fpasswd", status: 404, code: "not_found" },
  { method: "GET", path: "/v1/sprites/%00", status: 400, code: "invalid_request" },
  { method: "PUT", path: sprite, body: "{}", status: 400, code: "invalid_request" },
  { method: "PUT", path: sprite, body: '{"labels":"x"}', status: 400, code: "invalid_request" },
  { method: "DELETE", path: "/v1/sprites/unknown", status: 404, code: "not_found" },
  { method: "GET", path: "/v1/nothing", status: 404, code: "not_found" },
  { method: "GET", path: `${sprite}/nothing`, status: 404, code: "not_found" },
  { method: "POST", path: `${sprite}/exec`, status: 400, code: "invalid_request" },
  { method: "POST", path: `${sprite}/exec/999999/kill`, status: 404, code: "not_found" },
  { method: "POST", path: `${sprite}/exec/..%2f1/kill`, status: 404, code: "not_found" },
  { method: "GET", path: `${sprite}/checkpoints/v99`, status: 404, code: "not_found" },
  { method: "GET", path: `${sprite}/checkpoints/..%2fx`, status: 404, code: "not_found" },
  { method: "DELETE", path: `${sprite}/checkpoints/v99`, status: 404, code: "not_found" },
  { method: "POST", path: `${sprite}/checkpoints/v99/restore`, status: 404, code: "not_found" },
  {
    method: "POST",
    path: `${sprite}/checkpoint`,
    body: '{"comment":7}',
    status: 400,
    code: "invalid_request",
  },
  { method: "POST", path: `${sprite}/checkpoint`, body: "{", status: 400, code: "invalid_request" },
];

for (const { method, path, body, status, code } of badRequests) {
  test(`${method} ${path} ${body ?? ""} gives ${status} ${code}`, async () => {
    const response = await server.request(path, {
      method,
      ...(body === undefined ? {} : { body }),
    });
    assert.equal(response.status, status);
    assert.ok(response.headers.get("sprite-version"));
    const json = (await response.json()) as { error: string; message: string };
    assert.equal(json.error, code);
    assert.equal(typeof json.message, "string");
  });
}

test("without a good token nothing is told, whatever the path", async () => {
  for (const path of ["/v1/sprites", sprite, `${sprite}/exec?cmd=id`, "/v1/nothing", "/"]) {
    for (const headers of [
      {},
      { authorization: "Bearer wrong" },
      { authorization: server.token },
    ]) {
      const response = await fetch(`${server.url}${path}`, {
        headers: headers as Record<string, string>,
      });
      assert.equal(response.status, 401, path);
      assert.equal(((await response.json()) as { error: string }).error, "unauthorized");
    }
  }
  for (const path of ["/healthz", "/readyz"]) {
    assert.equal((await fetch(`${server.url}${path}`)).status, 200);
  }
});

test("another organization's sprite does not exist", async () => {
  const token = await server.createToken("rival");
  const headers = { authorization: `Bearer ${token}` };
  for (const path of [sprite, `${sprite}/exec`, `${sprite}/checkpoints`]) {
    assert.equal((await fetch(`${server.url}${path}`, { headers })).status, 404, path);
  }
});

test("10 MB of headers get 431, and the server goes on", async () => {
  const { hostname, port } = new URL(server.url);
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connectTcp(Number(port), hostname);
    let text = "";
    socket.on("data", (bytes) => (text += bytes.toString("latin1")));
    socket.on("error", () => resolve(text));
    socket.on("close", () => resolve(text));
    socket.setTimeout(10_000, () => reject(new Error("no answer")));
    socket.write("GET /v1/sprites HTTP/1.1\r\nHost: x\r\n");
    const line = `X-Filler: ${"x".repeat(8_000)}\r\n`;
    const total = (10 * 1024 * 1024) / line.length;
    for (let n = 0; n < total && !socket.destroyed; n += 1) socket.write(line);
  });
  assert.match(answer, /^HTTP\/1\.1 431 /);
  assert.equal((await server.request("/v1/sprites")).status, 200);
});

test("the target is unharmed, and no log line names a token", async () => {
  const { stdout } = await server.client().sprite("target").execFile("echo", ["fine"]);
  assert.equal(stdout, "fine\n");
  const secret = server.token.split("/").at(-1) ?? "";
  assert.ok(!server.log.some((line) => line.includes(secret)));
});
