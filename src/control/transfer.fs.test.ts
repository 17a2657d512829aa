/** Export and import over a real port, with a worker in memory. */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";

import { waitUntil } from "../base/wait.ts";
import { SpriteError } from "../contract/errors.ts";
import { startHarness } from "./testing/harness.ts";

test("what the registry knows of a sprite goes out and comes in again", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  const settings = { labels: ["ci"], environment: { A: "b" }, durability: "durable" };
  await call("POST", "/v1/sprites", { name: "box", url_settings: { auth: "public" }, ...settings });
  const { status, body } = await call("GET", "/v1/sprites/box/export");
  assert.equal(status, 200);
  assert.partialDeepStrictEqual(body, { name: "box", image_hash: "image-1", ...settings });
  const made = await call("POST", "/v1/sprites/copy/import", body);
  assert.equal(made.status, 201);
  const expected = { name: "copy", url_settings: { auth: "public" }, ...settings };
  assert.partialDeepStrictEqual(made.body, expected);
  assert.notEqual(worker.created[0]?.id, worker.created[1]?.id);
  assert.equal((await call("POST", "/v1/sprites/copy/import", body)).status, 409);
  assert.equal((await call("GET", "/v1/sprites/nobody/export")).status, 404);
  assert.equal((await call("PUT", "/v1/sprites/box/export", body)).status, 405);
  const strange = { ...body, image_hash: "../other" };
  assert.equal((await call("POST", "/v1/sprites/third/import", strange)).status, 400);
});

test("an import that fails leaves no sprite, and its name is free", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  worker.createError = new SpriteError("invalid_request", "the archive is damaged");
  const archived = { name: "box", image_hash: "image-1" };
  assert.equal((await call("POST", "/v1/sprites/box/import", archived)).status, 400);
  assert.equal((await call("GET", "/v1/sprites/box")).status, 404);
  worker.createError = null;
  assert.equal((await call("POST", "/v1/sprites/box/import", archived)).status, 201);
});

test("an export whose client hangs up before it begins is ended all the same", async () => {
  await using harness = await startHarness();
  const { call, worker, port, token } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  let isEnded = false;
  worker.export = async function* () {
    try {
      asked.resolve();
      await gate.promise;
      yield Buffer.from("first");
      yield Buffer.from("second");
    } finally {
      isEnded = true;
    }
  };
  const client = connect(port, "127.0.0.1");
  const head = [
    "GET /v1/sprites/box/export HTTP/1.1",
    "Host: box",
    `Authorization: Bearer ${token}`,
  ];
  client.write(`${head.join("\r\n")}\r\n\r\n`);
  await asked.promise;
  client.destroy();
  // A request later the server knows that the client has gone.
  await call("GET", "/v1/sprites/box");
  gate.resolve();
  assert.ok(await waitUntil(() => isEnded, { timeoutMs: 30_000, intervalMs: 5 }));
});
