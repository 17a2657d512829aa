/** The MCP server's protocol (contract.md section 12): messages, versions, tokens, limits. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHarness } from "../testing/harness.ts";
import {
  call,
  makeSprite,
  post,
  request,
  waitForHanging,
  type Loose,
  type Posted,
} from "../testing/mcp.ts";
import { batchMessagesMax, requestsPerOrganizationMax } from "./limits.ts";

const readOnly = [
  ...["list_sprites", "get_sprite_info", "open_sprite_inspector", "exec_list"],
  ...["service_list", "service_get", "service_logs", "checkpoint_list", "checkpoint_get"],
  "policy_network_get",
];
const destructive = [
  ...["create_sprite", "destroy_sprite", "exec", "exec_kill"],
  ...["service_create", "service_start", "service_stop"],
  ...["checkpoint_create", "checkpoint_restore", "policy_network_update"],
];

test("a client is greeted with a version that both know", async () => {
  await using harness = await startHarness();
  const greet = async (protocolVersion: unknown) => {
    const params = { protocolVersion, capabilities: {}, clientInfo: { name: "t", version: "1" } };
    return await request(harness, "initialize", params);
  };
  const { status, headers, body } = await greet("2025-06-18");
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("mcp-session-id"), null);
  assert.equal(body.id, 1);
  assert.equal(body.result.protocolVersion, "2025-06-18");
  assert.deepEqual(body.result.capabilities, { tools: {}, resources: {} });
  assert.partialDeepStrictEqual(body.result.serverInfo, { name: "opensprites", version: "0.1.0" });
  assert.equal((await greet("1999-01-01")).body.result.protocolVersion, "2025-11-25");
  assert.equal((await greet(7)).body.result.protocolVersion, "2025-11-25");

  const initialized = { jsonrpc: "2.0", method: "notifications/initialized" };
  const accepted = await post(harness, initialized, { "mcp-protocol-version": "2025-06-18" });
  assert.deepEqual([accepted.status, accepted.body], [202, null]);
  assert.deepEqual((await request(harness, "ping")).body, { jsonrpc: "2.0", id: 1, result: {} });
});

test("the tools are those of the contract, each with a schema and a hint", async () => {
  await using harness = await startHarness();
  const { body } = await request(harness, "tools/list");
  const tools: Loose[] = body.result.tools;
  const names = (isReadOnly: boolean) =>
    new Set(
      tools
        .filter(({ annotations }) => annotations.readOnlyHint === isReadOnly)
        .map(({ name }) => name),
    );
  assert.equal(tools.length, readOnly.length + destructive.length);
  assert.deepEqual(names(true), new Set(readOnly));
  assert.deepEqual(names(false), new Set(destructive));
  for (const { name, description, inputSchema, annotations } of tools) {
    assert.ok(description.length > 10, name);
    assert.equal(inputSchema.type, "object", name);
    assert.equal(annotations.destructiveHint, destructive.includes(name) ? true : undefined, name);
  }
  const exec = tools.find(({ name }) => name === "exec");
  assert.deepEqual(exec.inputSchema.required, ["sprite", "cmd"]);
  const fields = ["sprite", "sprite_id", "cmd", "dir", "env", "stdin"];
  assert.deepEqual(Object.keys(exec.inputSchema.properties), fields);
});

test("it takes the API's tokens, and each organization sees its own", async () => {
  await using harness = await startHarness();
  await call(harness, "create_sprite", { name: "box" });
  const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
  for (const authorization of ["", "Bearer wrong", "Basic abc"]) {
    const refused = await post(harness, ping, { authorization });
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get("www-authenticate"), "Bearer");
    assert.equal(refused.body.error, "unauthorized");
  }
  const { createToken } = await import("../tokens.ts");
  const { dataDirectory } = harness;
  const token = createToken({ dataDirectory, orgSlug: "other", description: "" });
  const other = { ...harness, token };
  const seen = await call(other, "list_sprites");
  assert.deepEqual(seen.value.sprites, []);
  const info = await call(other, "get_sprite_info", { sprite: "box" });
  assert.deepEqual([info.isError, info.value.error], [true, "not_found"]);
});

test("what is wrong with a message is a protocol error, what is wrong with a call its result", async () => {
  await using harness = await startHarness();
  const cases: Array<[unknown, number, number]> = [
    ["{", 400, -32_700],
    ["", 400, -32_600],
    ["null", 400, -32_600],
    [{ jsonrpc: "1.0", id: 1, method: "ping" }, 400, -32_600],
    [{ jsonrpc: "2.0", id: null, method: "ping" }, 400, -32_600],
    [{ jsonrpc: "2.0", id: {}, method: "ping" }, 400, -32_600],
    [{ jsonrpc: "2.0", id: "i".repeat(300), method: "ping" }, 400, -32_600],
    [{ jsonrpc: "2.0", id: 1, method: "ping", params: [1] }, 400, -32_600],
    [{ jsonrpc: "2.0", id: 1, method: "no/such" }, 200, -32_601],
    [{ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "rm" } }, 200, -32_602],
    [{ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "toString" } }, 200, -32_602],
  ];
  for (const [message, status, code] of cases) {
    const answer = await post(harness, message);
    const shown = JSON.stringify(message).slice(0, 80);
    assert.deepEqual([answer.status, answer.body.error.code], [status, code], shown);
    assert.equal(answer.body.jsonrpc, "2.0");
  }
  for (const input of [{}, [], "x", { name: "UPPER" }, { name: 7 }]) {
    const params = { name: "create_sprite", arguments: input };
    const { body } = await request(harness, "tools/call", params);
    assert.equal(body.result.isError, true, JSON.stringify(input));
    assert.match(body.result.content[0].text, /invalid_request/);
  }
  const answered = await post(harness, { jsonrpc: "2.0", id: 1, result: {} });
  assert.equal(answered.status, 202);
  const large = await post(harness, `"${"x".repeat(2 ** 20)}"`);
  assert.deepEqual([large.status, large.body.error], [413, "payload_too_large"]);
});

test("there are neither streams nor sessions, and pages of other sites are refused", async () => {
  await using harness = await startHarness();
  const headers = { authorization: `Bearer ${harness.token}` };
  for (const method of ["GET", "DELETE", "PUT"]) {
    const refused = await fetch(`${harness.baseUrl}/mcp`, { method, headers });
    assert.deepEqual([refused.status, refused.headers.get("allow")], [405, "POST"]);
  }
  const evil = await request(harness, "ping", {}, { origin: "http://evil.example" });
  assert.deepEqual([evil.status, evil.body.error], [403, "forbidden"]);
  const same = await request(harness, "ping", {}, { origin: harness.baseUrl });
  assert.equal(same.status, 200);
});

test("several messages in a body are for the version that knows it", async () => {
  await using harness = await startHarness();
  const ping = (id: number) => ({ jsonrpc: "2.0", id, method: "ping" });
  const note = { jsonrpc: "2.0", method: "notifications/cancelled" };
  const { status, body } = await post(harness, [ping(1), note, { no: 1 }, ping(2)]);
  assert.equal(status, 200);
  assert.deepEqual(
    body.map(({ id, error }: Loose) => [id, error?.code]),
    [
      [1, undefined],
      [null, -32_600],
      [2, undefined],
    ],
  );
  assert.equal((await post(harness, [note])).status, 202);
  assert.equal((await post(harness, [])).status, 400);
  const many = Array.from({ length: batchMessagesMax + 1 }, (_, id) => ping(id));
  assert.equal((await post(harness, many)).status, 400);
  const later = await post(harness, [ping(1)], { "mcp-protocol-version": "2025-06-18" });
  assert.deepEqual([later.status, later.body.error.code], [400, -32_600]);
});

test("the revision without a handshake gets what it needs in each answer", async () => {
  await using harness = await startHarness();
  const version = "2026-07-28";
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": version,
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const ask = (method: string, params: object = {}, headers: Record<string, string> = {}) =>
    request(
      harness,
      method,
      { _meta, ...params },
      { "mcp-protocol-version": version, "mcp-method": method, ...headers },
    );
  const { body } = await ask("server/discover");
  assert.ok(body.result.supportedVersions.includes(version));
  assert.partialDeepStrictEqual(body.result, { resultType: "complete", cacheScope: "private" });
  assert.ok((await ask("tools/list")).body.result.ttlMs > 0);
  const call = { name: "list_sprites", arguments: {} };
  const called = await ask("tools/call", call, { "mcp-name": "list_sprites" });
  assert.equal(called.body.result.resultType, "complete");
  const refusals: Array<[Posted, number, number]> = [
    [await ask("no/such"), 404, -32_601],
    [await ask("tools/call", call, { "mcp-name": "exec" }), 400, -32_020],
    [await ask("tools/list", {}, { "mcp-method": "tools/call" }), 400, -32_020],
    [await ask("tools/list", {}, { "mcp-protocol-version": "2025-06-18" }), 400, -32_020],
    [await request(harness, "ping", {}, { "mcp-protocol-version": version }), 400, -32_602],
    [await request(harness, "ping", {}, { "mcp-protocol-version": "2099-01-01" }), 400, -32_022],
  ];
  for (const [refused, status, code] of refusals) {
    assert.deepEqual([refused.status, refused.body.error.code], [status, code]);
  }
  const supported = refusals.at(-1)?.[0].body.error.data.supported;
  assert.ok(supported.includes("2025-11-25"));
});

test("an organization has so many requests under way and no more", async () => {
  await using harness = await startHarness();
  const agent = await makeSprite(harness, "box");
  const input = { sprite: "box", cmd: ["frames", "hang"] };
  const waiting = Array.from({ length: requestsPerOrganizationMax }, () =>
    call(harness, "exec", input),
  );
  await waitForHanging(agent, waiting.length);
  const refused = await request(harness, "ping");
  assert.deepEqual([refused.status, refused.body.error], [429, "rate_limited"]);
  assert.equal(refused.headers.get("retry-after"), "1");
  await harness.call("DELETE", "/v1/sprites/box");
  await Promise.all(waiting);
  assert.equal((await request(harness, "ping")).status, 200);
});
