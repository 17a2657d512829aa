/** What the MCP server's tools do (contract.md section 12), in front of agents in memory. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { waitUntil } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Organization } from "../organization.ts";
import { OpenSplices } from "../splice/open-splices.ts";
import type { Sprites } from "../sprites.ts";
import { startHarness } from "../testing/harness.ts";
import { call, makeSprite, request, waitForHanging, type Loose } from "../testing/mcp.ts";
import { execTool } from "./exec-tool.ts";
import { toolTextSizeBytesMax } from "./limits.ts";
import { tools } from "./methods.ts";

test("sprites are made, listed, looked at, shown and destroyed", async () => {
  await using harness = await startHarness();
  const made = await call(harness, "create_sprite", { name: "box-1" });
  assert.equal(made.value.name, "box-1");
  assert.equal(
    (await call(harness, "create_sprite", { name: "box-1" })).value.error,
    "already_exists",
  );
  await call(harness, "create_sprite", { name: "other" });
  const listed = await call(harness, "list_sprites", { prefix: "box", continuation_token: null });
  assert.deepEqual(
    listed.value.sprites.map(({ name }: Loose) => name),
    ["box-1"],
  );
  const { body } = await harness.call("GET", "/v1/sprites/box-1");
  const info = await call(harness, "get_sprite_info", { sprite: "box-1", sprite_id: body.id });
  assert.deepEqual(info.value, body);
  const shown = await call(harness, "open_sprite_inspector", { prefix: "box" });
  assert.deepEqual(shown.structured, shown.value);
  const [sprite] = shown.structured.sprites;
  assert.equal(shown.structured.prefix, "box");
  assert.equal(shown.structured.next_continuation_token, null);
  assert.equal(sprite.id, body.id);
  assert.match(sprite.org_id, /./);
  const resource = await request(harness, "resources/read", sprite.resource);
  assert.deepEqual(JSON.parse(resource.body.result.contents[0].text), body);
  const page = await request(harness, "resources/read", { uri: "ui://sprites/inspector.html" });
  assert.equal(page.body.result.contents[0].mimeType, "text/html;profile=mcp-app");
  for (const uri of ["ui://sprites/../../x", "sprite://none", "file:///etc/passwd", 7]) {
    assert.equal((await request(harness, "resources/read", { uri })).body.error.code, -32_602);
  }
  await call(harness, "destroy_sprite", { name: "box-1" });
  assert.equal((await harness.call("GET", "/v1/sprites/box-1")).status, 404);
  assert.equal((await call(harness, "destroy_sprite", { name: "box-1" })).value.error, "not_found");
});

test("a pinned sprite that is another one by now is left alone", async () => {
  await using harness = await startHarness();
  await call(harness, "create_sprite", { name: "box" });
  const pin = { sprite: "box", sprite_id: "sprite-of-yesterday" };
  const inputs: Record<string, object> = {
    exec: { cmd: ["true"] },
    exec_kill: { session_id: "1" },
    policy_network_update: { rules: [] },
    checkpoint_restore: { id: "v1" },
    checkpoint_get: { id: "v1" },
    ...Object.fromEntries(
      ["get", "logs", "start", "stop"].map((verb) => [`service_${verb}`, { service_name: "web" }]),
    ),
    service_create: { service_name: "web", cmd: "true" },
  };
  const unscoped = ["list_sprites", "create_sprite", "destroy_sprite", "open_sprite_inspector"];
  const scoped = tools.map(({ name }) => name).filter((name) => !unscoped.includes(name));
  for (const name of scoped) {
    const refused = await call(harness, name, { ...pin, ...inputs[name] });
    assert.deepEqual([refused.isError, refused.value.error], [true, "conflict"], name);
  }
  assert.deepEqual(harness.worker.configured, []);
});

test("policies are set and read", async () => {
  await using harness = await startHarness();
  await call(harness, "create_sprite", { name: "box" });
  const rules = [{ domain: "example.com", action: "allow" }, { include: "defaults" }];
  const set = await call(harness, "policy_network_update", { sprite: "box", rules });
  assert.deepEqual(set.value, { rules });
  assert.deepEqual((await call(harness, "policy_network_get", { sprite: "box" })).value, { rules });
  const wrong = { sprite: "box", rules: [{ domain: "192.0.2.1", action: "allow" }] };
  const refused = await call(harness, "policy_network_update", wrong);
  assert.deepEqual([refused.isError, refused.value.error], [true, "invalid_request"]);
  assert.deepEqual((await call(harness, "policy_network_get", { sprite: "box" })).value, { rules });
});

test("tools of the agent ask what the API asks", async () => {
  await using harness = await startHarness();
  await call(harness, "create_sprite", { name: "box" });
  const cases: Array<[string, object, string, string]> = [
    ["exec_list", {}, "GET", "/exec"],
    [
      "exec_kill",
      { session_id: "12", signal: "INT", timeout: "2s" },
      ...(["POST", "/exec/12/kill?signal=INT&timeout=2s"] as const),
    ],
    ["service_list", {}, "GET", "/services"],
    ["service_get", { service_name: "web.1" }, "GET", "/services/web.1"],
    [
      "service_logs",
      { service_name: "web", lines: 3, duration: "1s" },
      ...(["GET", "/services/web/logs?lines=3&duration=1s"] as const),
    ],
    ["service_create", { service_name: "web", cmd: "x" }, "PUT", "/services/web"],
    ["service_start", { service_name: "web" }, "POST", "/services/web/start"],
    [
      "service_stop",
      { service_name: "web", timeout: "1s" },
      ...(["POST", "/services/web/stop?timeout=1s"] as const),
    ],
    ["checkpoint_list", {}, "GET", "/checkpoints"],
    ["checkpoint_get", { id: "Current" }, "GET", "/checkpoints/Current"],
    ["checkpoint_create", { comment: "c" }, "POST", "/checkpoint"],
    ["checkpoint_restore", { id: "v3" }, "POST", "/checkpoints/v3/restore"],
  ];
  for (const [name, input, method, path] of cases) {
    const { isError, value } = await call(harness, name, { sprite: "box", ...input });
    assert.deepEqual([isError, value], [false, { method, url: `/v1/sprites/box${path}` }], name);
  }
  const bad: Array<[string, object]> = [
    ["service_get", { service_name: ".." }],
    ["service_get", { service_name: "a/b" }],
    ["exec_kill", { session_id: "../1" }],
    ["exec_kill", { session_id: "1", signal: "NONE" }],
    ["checkpoint_get", { id: "v1/../../x" }],
    ["service_logs", { service_name: "web", duration: "soon" }],
    ["service_list", { sprite: "../x" }],
    ["service_list", { surprise: 1 }],
  ];
  for (const [name, input] of bad) {
    const { isError, value } = await call(harness, name, { sprite: "box", ...input });
    assert.deepEqual([isError, value.error], [true, "invalid_request"], JSON.stringify(input));
  }
});

test("a sleeping sprite is not woken to say that nothing runs, or what its disk says", async () => {
  await using harness = await startHarness();
  const { body } = await harness.call("POST", "/v1/sprites", { name: "box" });
  await harness.worker.stop(String(body.id));
  const starts = harness.worker.startCount;
  const listed = await call(harness, "exec_list", { sprite: "box" });
  assert.deepEqual(listed.value, { count: 0, sessions: [] });
  assert.equal(harness.worker.startCount, starts);
  for (const name of ["service_list", "checkpoint_list"]) {
    await call(harness, name, { sprite: "box" });
  }
  assert.equal(harness.worker.startCount, starts);
  assert.equal(harness.worker.readingCount, 0);
  await call(harness, "service_stop", { sprite: "box", service_name: "web" });
  assert.equal(harness.worker.startCount, starts + 1);
});

test("a command's outputs and exit code come apart, and its input goes in", async () => {
  await using harness = await startHarness();
  const agent = await makeSprite(harness, "box");
  const run = (cmd: string[], more: object = {}) =>
    call(harness, "exec", { sprite: "box", cmd: ["frames", ...cmd], ...more });
  const failed = await run(["1:a", "2:b", "1:c", "3:7"]);
  const expected = { exit_code: 7, stdout: "ac", stderr: "b" };
  assert.deepEqual(failed, { isError: false, value: expected, structured: expected });
  const fed = await run(["1:stdin", "3:0"], { stdin: "grüße\n", env: { A: "1=2" }, dir: "/tmp" });
  assert.deepEqual(fed.structured, { exit_code: 0, stdout: "grüße\n", stderr: "" });
  const url = new URL(agent.seen.at(-1)?.url ?? "", "http://agent");
  assert.equal(url.pathname, "/v1/sprites/box/exec");
  assert.deepEqual(url.searchParams.getAll("env"), ["A=1=2"]);
  assert.equal(url.searchParams.get("dir"), "/tmp");
  assert.deepEqual(await run(["refuse"]), {
    isError: true,
    value: { error: "invalid_request" },
    structured: undefined,
  });
  // Unknown is not zero.
  const lost = await run(["1:some"]);
  assert.equal(lost.isError, true);
  assert.partialDeepStrictEqual(lost.structured, { error: "unavailable", exit_code: null });
  const broken = await run(["1:so far", "break"]);
  assert.equal(broken.isError, true);
  assert.partialDeepStrictEqual(broken.structured, { error: "unavailable", stdout: "so far" });
  assert.equal("exit_code" in broken.structured, false);
});

test("a long output is told by its beginning and its end", async () => {
  await using harness = await startHarness();
  await call(harness, "create_sprite", { name: "box" });
  const cmd = ["frames", "1:first", "long", "1:last", "3:0"];
  const { structured } = await call(harness, "exec", { sprite: "box", cmd });
  const { stdout } = structured;
  assert.match(stdout, /^firstx+\n\[\.\.\. \d+ bytes left out \.\.\.\]\nx+last$/);
  assert.ok(stdout.length < toolTextSizeBytesMax + 100);
});

test("a client that leaves ends its command, and a deleted sprite its callers' waiting", async () => {
  await using harness = await startHarness();
  const agent = await makeSprite(harness, "box");
  const params = { name: "exec", arguments: { sprite: "box", cmd: ["frames", "hang"] } };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  const leave = new AbortController();
  const headers = { authorization: `Bearer ${harness.token}` };
  const { signal } = leave;
  const left = fetch(`${harness.baseUrl}/mcp`, { method: "POST", headers, body, signal });
  await waitForHanging(agent, 1);
  leave.abort();
  await assert.rejects(left);
  assert.ok(await waitUntil(() => agent.abortedCount === 1, { timeoutMs: 10_000 }));
  const waiting = call(harness, "exec", params.arguments);
  await waitForHanging(agent, 2);
  await call(harness, "destroy_sprite", { name: "box" });
  const { isError, value } = await waiting;
  assert.deepEqual([isError, value.error], [true, "not_found"]);
});

test("a command that takes too long is ended, and what it wrote so far is told", async () => {
  await using harness = await startHarness();
  const agent = await makeSprite(harness, "box");
  const sprite = { id: "sprite-1", name: "box" };
  const sprites = { find: () => sprite, findReady: () => sprite, start: async () => agent };
  const end = new AbortController();
  const context = {
    sprites: sprites as unknown as Sprites,
    splices: new OpenSplices(1),
    organization: {} as Organization,
    requestId: "r",
    signal: end.signal,
  };
  const cmd = ["frames", "1:so far", "hang"];
  const running = execTool.run(context, { sprite: "box", cmd });
  await waitForHanging(agent, 1);
  // The same agent answers it after it has written the command's output.
  await harness.call("GET", "/v1/sprites/box/services");
  end.abort(new SpriteError("deadline_exceeded", "too long"));
  const { isError, structuredContent } = await running;
  assert.equal(isError, true);
  const expected = {
    error: "deadline_exceeded",
    message: "too long",
    stdout: "so far",
    stderr: "",
  };
  assert.deepEqual(structuredContent, expected);
  assert.ok(await waitUntil(() => agent.abortedCount === 1, { timeoutMs: 10_000 }));
  assert.equal(context.splices.count, 0);
});
