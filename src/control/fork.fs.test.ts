/** `POST /v1/sprites` with `from`, over a real port, with a worker in memory. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SpriteError } from "../contract/errors.ts";
import { startHarness } from "./testing/harness.ts";
import { createToken } from "./tokens.ts";

test("a fork has its source's image and settings, and a name, labels and address of its own", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const settings = { environment: { A: "b" }, durability: "durable", config: { cpus: 2 } };
  const own = { labels: ["ci"], url_settings: { auth: "public" } };
  await call("POST", "/v1/sprites", { name: "box", ...settings, ...own });
  const from = { sprite: "box", checkpoint: "v2" };
  const made = await call("POST", "/v1/sprites", { name: "copy", from, labels: ["try"] });
  assert.equal(made.status, 201);
  const expected = { name: "copy", labels: ["try"], url_settings: { auth: "sprite" }, ...settings };
  assert.partialDeepStrictEqual(made.body, expected);
  assert.equal(made.body["status"], "cold", "it starts when something needs it");
  const [box, copy] = worker.created;
  assert.partialDeepStrictEqual(box, { name: "box", isFork: false });
  assert.partialDeepStrictEqual(copy, { name: "copy", isFork: true, imageHash: "image-1" });
  assert.deepEqual(worker.forkedFrom, [{ spec: box, checkpoint: "v2" }]);
  // What is asked for counts.
  const other = { environment: {}, durability: "local", from: { sprite: "copy" } };
  const grandchild = await call("POST", "/v1/sprites", { name: "third", ...other });
  assert.partialDeepStrictEqual(grandchild.body, { environment: {}, durability: "local" });
  assert.deepEqual(worker.forkedFrom[1], { spec: copy, checkpoint: null });
});

test("what cannot be forked is refused in words, before anything is made", async () => {
  await using harness = await startHarness();
  const { call, worker, dataDirectory, baseUrl } = harness;
  const fork = (from: unknown, name = "copy") => call("POST", "/v1/sprites", { name, from });
  const missing = await fork({ sprite: "nobody" });
  assert.equal(missing.status, 404);
  assert.match(String(missing.body["message"]), /nobody/);
  const bad = ["box", {}, { sprite: "Box" }, { sprite: "box", checkpoint: "../v1" }, { sprite: 1 }];
  for (const from of bad) assert.equal((await fork(from)).status, 400, JSON.stringify(from));
  await call("POST", "/v1/sprites", { name: "box" });
  assert.equal((await fork({ sprite: "box" }, "box")).status, 409);
  // Another organization's sprite is nobody's.
  const stranger = createToken({ dataDirectory, orgSlug: "other", description: "test" });
  const answer = await fetch(`${baseUrl}/v1/sprites`, {
    method: "POST",
    headers: { authorization: `Bearer ${stranger}` },
    body: JSON.stringify({ name: "copy", from: { sprite: "box" } }),
  });
  assert.equal(answer.status, 404);
  await call("DELETE", "/v1/sprites/box");
  assert.equal((await fork({ sprite: "box" })).status, 404);
  assert.deepEqual(worker.forkedFrom, []);
});

test("a source that is still being made is not ready to be forked", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const gate = Promise.withResolvers<void>();
  worker.createGate = gate.promise;
  const made = call("POST", "/v1/sprites", { name: "box" });
  const from = { sprite: "box" };
  let answer = await call("POST", "/v1/sprites", { name: "copy", from });
  while (answer.status === 404) answer = await call("POST", "/v1/sprites", { name: "copy", from });
  assert.equal(answer.status, 503);
  gate.resolve();
  await made;
});

test("a fork that fails leaves no sprite, says why, and its name is free", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const body = { name: "copy", from: { sprite: "box", checkpoint: "v7" } };
  worker.createError = new SpriteError("not_found", "there is no checkpoint v7");
  const failed = await call("POST", "/v1/sprites", body);
  assert.equal(failed.status, 404);
  assert.match(String(failed.body["message"]), /no checkpoint v7/);
  assert.equal((await call("GET", "/v1/sprites/copy")).status, 404);
  assert.deepEqual(worker.destroyed, [worker.created[1]?.id]);
  worker.createError = null;
  assert.equal((await call("POST", "/v1/sprites", body)).status, 201);
});

test("a source that is deleted meanwhile is named", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const gate = Promise.withResolvers<void>();
  worker.createGate = gate.promise;
  const made = call("POST", "/v1/sprites", { name: "copy", from: { sprite: "box" } });
  while (worker.forkedFrom.length === 0) await call("GET", "/v1/sprites");
  await call("DELETE", "/v1/sprites/box");
  worker.createError = new SpriteError("not_found", "volume sprites/4f1c was destroyed");
  gate.resolve();
  const { status, body } = await made;
  assert.equal(status, 404);
  assert.match(String(body["message"]), /^sprite box was deleted/);
});
