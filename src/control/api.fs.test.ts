/** The JSON endpoints, over a real port, with a worker in memory. */

import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";

import { pino } from "pino";

import { SpriteError } from "../contract/errors.ts";
import { startHarness, type Harness, type Json } from "./testing/harness.ts";
import { eventually, sendRaw } from "./testing/raw-http.ts";
import { createToken } from "./tokens.ts";

async function createSprite(harness: Harness, name: string): Promise<Json & { id: string }> {
  const { status, body } = await harness.call("POST", "/v1/sprites", { name });
  assert.equal(status, 201);
  assert.ok(typeof body.id === "string");
  return { ...body, id: body.id };
}

test("create, get, update, delete", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const created = await call("POST", "/v1/sprites", {
    name: "my-box",
    config: { ramMB: 512 },
    environment: { FOO: "bar" },
    labels: ["ci"],
    unknown: 1,
  });
  assert.equal(created.status, 201);
  const { id, url, created_at: createdAt, last_running_at: runningAt } = created.body;
  assert.match(String(id), /^sprite-[0-9a-f-]{36}$/);
  assert.match(String(url), /^https:\/\/my-box-[a-z0-9]{4}\.sprites\.localhost$/);
  assert.match(String(createdAt), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.match(String(runningAt), /Z$/);
  assert.partialDeepStrictEqual(created.body, {
    name: "my-box",
    organization: "acme",
    org_slug: "acme",
    status: "running",
    config: { ram_mb: 512 },
    environment: { FOO: "bar" },
    labels: ["ci"],
    url_settings: { auth: "sprite", private_access: "org_users" },
  });
  const spec = {
    id: String(id),
    name: "my-box",
    environment: { FOO: "bar" },
    imageHash: "image-1",
    isFork: false,
    durability: "local",
    idleWindow: "default",
    policy: { network: { rules: [] }, privileges: {}, resources: {} },
  };
  assert.deepEqual(worker.created, [spec]);
  assert.deepEqual(await call("GET", "/v1/sprites/my-box"), { status: 200, body: created.body });
  assert.equal((await call("POST", "/v1/sprites", { name: "my-box" })).status, 409);

  const updated = await call("PUT", "/v1/sprites/my-box", { url_settings: { auth: "public" } });
  assert.equal(updated.status, 200);
  assert.deepEqual(updated.body["url_settings"], { auth: "public", private_access: "org_users" });
  assert.deepEqual(updated.body["labels"], ["ci"]);
  const cleared = await call("PUT", "/v1/sprites/my-box", { clear_labels: true });
  assert.deepEqual(cleared.body["labels"], []);
  assert.equal((await call("PUT", "/v1/sprites/my-box", {})).status, 400);
  assert.equal((await call("PUT", "/v1/sprites/nobody", {})).status, 404);

  assert.deepEqual(await call("DELETE", "/v1/sprites/my-box"), { status: 204, body: {} });
  assert.deepEqual(worker.destroyed, [id]);
  assert.equal((await call("GET", "/v1/sprites/my-box")).status, 404);
  assert.equal((await call("DELETE", "/v1/sprites/my-box")).status, 404);
  const again = await createSprite(harness, "my-box");
  assert.notEqual(again.id, id);
});

test("the list pages by name and counts by status, at the top and in org", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  for (const name of ["b-2", "a", "b-1"]) await createSprite(harness, name);
  await worker.stop(worker.created[1]?.id ?? "");
  const counters = { name: "acme", running: 2, warm: 0, cold: 1 };
  const first = await call("GET", "/v1/sprites?max_results=2");
  assert.partialDeepStrictEqual(first.body, { ...counters, org: counters, has_more: true });
  const token = String(first.body["next_continuation_token"]);
  const second = await call("GET", `/v1/sprites?max_results=2&continuation_token=${token}`);
  assert.partialDeepStrictEqual(second.body, { has_more: false, next_continuation_token: null });
  const names = (body: Json) => (body["sprites"] as Json[]).map((sprite) => sprite.name);
  assert.deepEqual([names(first.body), names(second.body)], [["a", "b-1"], ["b-2"]]);
  assert.deepEqual(names((await call("GET", "/v1/sprites?prefix=b-&max_results=100")).body), [
    "b-1",
    "b-2",
  ]);
});

test("nothing but health is told without a good token, and nothing of another organization", async () => {
  await using harness = await startHarness();
  const { dataDirectory, baseUrl } = harness;
  await createSprite(harness, "box");
  for (const path of ["/healthz", "/readyz"])
    assert.equal((await fetch(baseUrl + path)).status, 200);
  const paths = [
    "/",
    "/v1/sprites",
    "/v1/sprites/box",
    "/v1/sprites/box/exec",
    "/v1/%zz",
    "/nowhere",
  ];
  paths.push("/v1/organizations/acme/tokens", "/v1/sprites/box/fs/read?path=/etc/passwd");
  for (const path of paths) {
    for (const authorization of ["", "Bearer acme/x/y/z", "Basic YTpi", "FlyV1"]) {
      for (const method of ["GET", "POST", "DELETE", "BREW"]) {
        if (method === "BREW") continue;
        const response = await fetch(baseUrl + path, { method, headers: { authorization } });
        assert.equal(response.status, 401, `${method} ${path}`);
        assert.equal(response.headers.get("www-authenticate"), "Bearer");
        assert.equal(response.headers.get("sprite-version"), "v0.1.0");
        assert.partialDeepStrictEqual(await response.json(), { error: "unauthorized" });
      }
    }
  }
  const other = createToken({ dataDirectory, orgSlug: "other", description: "" });
  const headers = { authorization: `Bearer ${other}` };
  for (const path of ["/v1/sprites/box", "/v1/sprites/box/check", "/v1/sprites/box/exec"]) {
    const response = await fetch(baseUrl + path, { headers });
    assert.equal(response.status, 404);
    assert.match(String(response.headers.get("content-type")), /^application\/json/);
  }
  assert.equal(
    (await fetch(`${baseUrl}/v1/sprites/box`, { method: "DELETE", headers })).status,
    404,
  );
  assert.equal(harness.worker.destroyed.length, 0);
  assert.equal((await fetch(`${baseUrl}/v1/sprites`, { headers })).status, 200);
});

test("every answer has a version and a request id, the client's own if it is a decent one", async () => {
  await using harness = await startHarness();
  const { baseUrl, token } = harness;
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(baseUrl + path, { headers: { authorization: `Bearer ${token}`, ...headers } });
  for (const path of ["/healthz", "/v1/sprites", "/v1/nowhere", "/v1/sprites/none/exec"]) {
    const response = await get(path);
    assert.equal(response.headers.get("sprite-version"), "v0.1.0");
    assert.match(String(response.headers.get("x-request-id")), /^req-/);
  }
  const kept = await get("/v1/sprites", { "x-request-id": "trace-1" });
  assert.equal(kept.headers.get("x-request-id"), "trace-1");
  const replaced = await get("/v1/sprites", { "x-request-id": "x y" });
  assert.match(String(replaced.headers.get("x-request-id")), /^req-/);
});

test("methods that an endpoint does not have", async () => {
  await using harness = await startHarness();
  await createSprite(harness, "box");
  const { baseUrl, token } = harness;
  const cases = {
    "/v1/sprites": "PUT",
    "/v1/sprites/box": "POST",
    "/v1/sprites/box/restart": "GET",
  };
  for (const [path, method] of Object.entries(cases)) {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(baseUrl + path, { method, headers });
    assert.equal(response.status, 405);
    assert.ok(response.headers.has("allow"));
    assert.partialDeepStrictEqual(await response.json(), { error: "method_not_allowed" });
  }
});

test("a create that fails leaves nothing, and says why", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  worker.createError = new SpriteError("disk_full", "no space");
  const { status, body } = await call("POST", "/v1/sprites", { name: "box" });
  assert.deepEqual(
    { status, body },
    { status: 507, body: { error: "disk_full", message: "no space" } },
  );
  assert.equal((await call("GET", "/v1/sprites/box")).status, 404);
  await eventually(() => worker.destroyed.length === 1, "the failed sprite is removed");
  worker.createError = new Error("a bug, and its secrets");
  const failed = await call("POST", "/v1/sprites", { name: "box" });
  assert.deepEqual(failed.body, { error: "internal_error", message: "internal error" });
  worker.createError = null;
  await createSprite(harness, "box");
});

test("while a sprite is being created its name is taken, and a delete wins", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const gate = Promise.withResolvers<void>();
  worker.createGate = gate.promise;
  const creating = call("POST", "/v1/sprites", { name: "box" });
  await eventually(() => worker.created.length === 1, "create reaches the worker");
  assert.equal((await call("POST", "/v1/sprites", { name: "box" })).status, 409);
  assert.equal((await call("GET", "/v1/sprites/box")).body["status"], "cold");
  assert.equal((await call("POST", "/v1/sprites/box/exec?cmd=true")).status, 503);
  assert.equal((await call("GET", "/v1/sprites/box/check")).body["status"], "creating");
  const deleting = call("DELETE", "/v1/sprites/box");
  await eventually(() => worker.created.length === 1, "delete is under way");
  while ((await call("GET", "/v1/sprites/box")).status !== 404);
  assert.equal(worker.destroyed.length, 0);
  gate.resolve();
  assert.equal((await creating).status, 409);
  assert.equal((await deleting).status, 204);
  assert.deepEqual(worker.destroyed, [worker.created[0]?.id]);
});

test("a crash in the middle of a create or a delete is cleared up by the next start", async () => {
  await using harness = await startHarness();
  const { dataDirectory, worker, call } = harness;
  worker.createGate = new Promise(() => {});
  void call("POST", "/v1/sprites", { name: "half-made" }).catch(() => null);
  await eventually(() => worker.created.length === 1, "create reaches the worker");
  worker.createGate = Promise.resolve();
  const { id } = await createSprite(harness, "half-gone");
  await createSprite(harness, "whole");
  worker.destroyError = new Error("cannot now");
  assert.equal((await call("DELETE", "/v1/sprites/half-gone")).status, 204);

  await using next = await startHarness({ dataDirectory });
  const expected = new Set([worker.created[0]?.id, id]);
  await eventually(() => next.worker.destroyed.length === 2, "both are removed");
  assert.deepEqual(new Set(next.worker.destroyed), expected);
  assert.equal((await next.call("GET", "/v1/sprites/half-made")).status, 404);
  assert.equal((await next.call("GET", "/v1/sprites/whole")).status, 200);
  await using third = await startHarness({ dataDirectory });
  await third.control.recover();
  assert.deepEqual(third.worker.destroyed, []);
});

test("restart and upgrade say what they did", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const { id } = await createSprite(harness, "box");
  const restarted = await call("POST", "/v1/sprites/box/restart");
  assert.equal(restarted.status, 200);
  assert.partialDeepStrictEqual(restarted.body, { sprite_name: "box", message: "restarted" });
  assert.equal(typeof restarted.body["machine_id"], "string");
  assert.equal(worker.startCount, 2);
  assert.equal(
    (await call("POST", "/v1/sprites/box/upgrade")).body["message"],
    "upgraded to v0.1.0",
  );
  assert.equal(worker.startCount, 3);
  worker.agentOf(id).version = "v0.1.0";
  assert.equal(
    (await call("POST", "/v1/sprites/box/upgrade")).body["message"],
    "runs v0.1.0 already",
  );
  await worker.stop(id);
  assert.equal((await call("POST", "/v1/sprites/box/upgrade")).status, 200);
  assert.equal(worker.startCount, 3);
  worker.startError = new SpriteError("start_failed", "no such image");
  const failed = await call("POST", "/v1/sprites/box/restart");
  assert.deepEqual(failed, {
    status: 503,
    body: { error: "start_failed", message: "no such image" },
  });
});

test("check tells the truth and wakes nobody", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const { id } = await createSprite(harness, "box");
  const healthy = (await call("GET", "/v1/sprites/box/check")).body;
  assert.partialDeepStrictEqual(healthy, {
    sprite_name: "box",
    sprite_id: id,
    status: "ok",
    reason: null,
  });
  assert.equal(typeof healthy["elapsed"], "number");
  const answers: [number, object, string, string | null][] = [
    [404, {}, "ok", null],
    [200, { status: "degraded", reason: "the bucket is away" }, "degraded", "the bucket is away"],
    [200, { status: 7 }, "unhealthy", "the agent's answer makes no sense"],
    [500, {}, "unhealthy", "the agent answers with status 500"],
    [503, { status: "failing", reason: "the bucket is full" }, "failing", "the bucket is full"],
  ];
  for (const [status, body, expectedStatus, reason] of answers) {
    worker.agentOf(id).health = { status, body };
    const checked = (await call("GET", "/v1/sprites/box/check")).body;
    assert.partialDeepStrictEqual(checked, { status: expectedStatus, reason });
  }
  await worker.killUnnoticed(id);
  const dead = (await call("GET", "/v1/sprites/box/check")).body;
  assert.equal(dead["status"], "unhealthy");
  assert.match(String(dead["reason"]), /does not answer/);
  await worker.stop(id);
  const cold = (await call("GET", "/v1/sprites/box/check")).body;
  assert.partialDeepStrictEqual(cold, { status: "ok", elapsed: null });
  assert.equal(worker.startCount, 1);
  assert.equal((await call("GET", "/v1/sprites/none/check")).status, 404);
});

test("only the admin secret mints tokens, and only where there is one", async () => {
  await using harness = await startHarness({ adminSecret: "s3cret" });
  await using closed = await startHarness();
  const mint = async (to: Harness, authorization: string, slug = "acme", body = "{}") => {
    const path = `/v1/organizations/${slug}/tokens`;
    const headers = { authorization };
    const response = await fetch(to.baseUrl + path, { method: "POST", headers, body });
    return { status: response.status, body: (await response.json()) as Json };
  };
  assert.equal((await mint(closed, "FlyV1 s3cret")).status, 403);
  assert.equal((await mint(harness, "FlyV1 wrong")).status, 403);
  assert.equal((await mint(harness, `Bearer ${harness.token}`)).status, 403);
  assert.equal((await mint(harness, "FlyV1 s3cret", "No%20Slug")).status, 400);
  assert.equal((await mint(harness, "FlyV1 s3cret", "acme", '{"description":7}')).status, 400);
  assert.equal(
    (await fetch(`${harness.baseUrl}/v1/sprites`, { headers: { authorization: "FlyV1 s3cret" } }))
      .status,
    401,
  );
  for (const authorization of ["FlyV1 s3cret", "FlyV1 FlyV1 s3cret"]) {
    const { status, body } = await mint(harness, authorization, "fresh", '{"invite_code":"x"}');
    assert.equal(status, 201);
    const headers = { authorization: `Bearer ${String(body["token"])}` };
    assert.equal((await fetch(`${harness.baseUrl}/v1/sprites`, { headers })).status, 200);
  }
});

test("a watcher gets a line for each sprite, then one for each change", async () => {
  await using harness = await startHarness();
  const { baseUrl, token, worker, control } = harness;
  const { id } = await createSprite(harness, "b-1");
  await createSprite(harness, "a");
  const response = await fetch(`${baseUrl}/v1/sprites?prefix=b-`, {
    headers: { authorization: `Bearer ${token}`, accept: "application/x-ndjson" },
  });
  assert.equal(response.headers.get("content-type"), "application/x-ndjson");
  const lines: Json[] = [];
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const part of response.body ?? []) {
      const text = decoder.decode(part as Uint8Array);
      for (const line of text.split("\n").filter(Boolean)) lines.push(JSON.parse(line) as Json);
    }
  })();
  await eventually(() => lines.length === 1, "the first line");
  const org = { name: "acme", running: 2, warm: 0, cold: 0 };
  assert.partialDeepStrictEqual(lines[0], { name: "b-1", status: "running", org });
  await worker.stop(id);
  await eventually(() => lines.length === 2, "a line for the change");
  assert.partialDeepStrictEqual(lines[1], { name: "b-1", status: "cold", org: { cold: 1 } });
  await createSprite(harness, "b-2");
  await eventually(() => lines.length === 3, "a line for the new sprite");
  assert.partialDeepStrictEqual(lines[2], { name: "b-2", status: "running", org: { running: 2 } });
  await harness.call("DELETE", "/v1/sprites/b-2");
  await eventually(() => lines.length === 4, "a last line for the deleted sprite");
  assert.partialDeepStrictEqual(lines[3], { name: "b-2", status: "deleted", org: { running: 1 } });
  await control.stop();
  await reading;
});

test("the log has a line for each request, without query, token or environment", async () => {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  await using harness = await startHarness({ log: pino({ level: "trace" }, sink) });
  const { call, token, worker } = harness;
  await harness.call("POST", "/v1/sprites", { name: "box", environment: { KEY: "hush-hush" } });
  await call("POST", "/v1/sprites/box/exec?cmd=echo&env=KEY%3Dhush-hush");
  worker.startError = new Error("start failed");
  await worker.stop(worker.created[0]?.id ?? "");
  await call("POST", "/v1/sprites/box/exec?cmd=hush-hush");
  await eventually(
    () => lines.filter((line) => line.includes('"msg":"request"')).length === 3,
    "log",
  );
  const text = lines.join("");
  assert.ok(!text.includes("hush-hush") && !text.includes(token));
  assert.match(
    text,
    /"requestId":"req-[^"]+","method":"POST","path":"\/v1\/sprites\/box\/exec","status":200,"ms":/,
  );
  assert.match(text, /start failed/);
});

test("requests too large or not HTTP get a JSON answer", async () => {
  await using harness = await startHarness();
  const { port, token, call } = harness;
  const authorization = `Authorization: Bearer ${token}\r\n`;
  const head = (extra: string) =>
    `GET /v1/sprites HTTP/1.1\r\nHost: x\r\n${authorization}${extra}\r\n`;
  assert.equal((await sendRaw(port, head(`X: ${"x".repeat(900_000)}\r\n`))).status, 200);
  const overflow = await sendRaw(port, head(`X: ${"x".repeat(10_000_000)}\r\n`));
  assert.equal(overflow.status, 431);
  assert.partialDeepStrictEqual(JSON.parse(overflow.body), { error: "headers_too_large" });
  assert.equal(overflow.headers["sprite-version"], "v0.1.0");
  const long = `GET /v1/sprites?prefix=${"x".repeat(1_100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`;
  assert.equal((await sendRaw(port, long)).status, 431);
  for (const bytes of [
    "hello\r\n\r\n",
    "\0\0\0\0",
    head("A b: c\r\n"),
    head("Content-Length: -1\r\n"),
  ]) {
    const answer = await sendRaw(port, bytes);
    assert.equal(answer.status, 400, JSON.stringify(bytes.slice(0, 40)));
    assert.partialDeepStrictEqual(JSON.parse(answer.body), { error: "invalid_request" });
  }
  const many = Array.from({ length: 3000 }, (_, index) => `X-${index}: 1\r\n`).join("");
  const odd = `GET /v1/sprites HTTP/1.1\r\nExpect: wonders\r\n${many}${authorization}\r\n`;
  assert.equal((await sendRaw(port, odd)).status, 200);
  const post = `POST /v1/sprites HTTP/1.1\r\nHost: x\r\n${authorization}`;
  const both = await sendRaw(
    port,
    `${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc`,
  );
  assert.equal(both.status, 400);
  assert.equal((await call("GET", "/v1/sprites")).status, 200);
});

test("a body of 100 MB is refused, with and without its length", async () => {
  await using harness = await startHarness();
  const { port, token, call } = harness;
  const post = `POST /v1/sprites HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
  const block = Buffer.alloc(1_000_000, " ");
  const blocks = Array<Buffer>(100).fill(block);
  const sized = Buffer.from(`${post}Content-Length: 100000000\r\n\r\n`);
  const answer = await sendRaw(port, [sized, ...blocks]);
  assert.equal(answer.status, 413);
  assert.partialDeepStrictEqual(JSON.parse(answer.body), { error: "payload_too_large" });
  const chunk = Buffer.concat([Buffer.from("f4240\r\n"), block, Buffer.from("\r\n")]);
  const chunks = [
    Buffer.from(`${post}Transfer-Encoding: chunked\r\n\r\n`),
    ...Array<Buffer>(100).fill(chunk),
  ];
  assert.equal((await sendRaw(port, chunks)).status, 413);
  const waiting = await sendRaw(
    port,
    `${post}Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n`,
  );
  assert.equal(waiting.status, 413);
  assert.equal((await call("GET", "/v1/sprites")).status, 200);
});

test("a client that waits for 100 Continue gets it when its body is wanted", async () => {
  await using harness = await startHarness();
  const { port, token } = harness;
  const body = JSON.stringify({ name: "box" });
  const length = `Content-Length: ${body.length}\r\n`;
  const head = `POST /v1/sprites HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n${length}`;
  const good = await sendRaw(port, `${head}Authorization: Bearer ${token}\r\n\r\n${body}`);
  assert.equal(good.status, 100);
  assert.match(good.body, /^HTTP\/1\.1 201/);
  assert.equal((await sendRaw(port, `${head}\r\n`)).status, 401);
});
