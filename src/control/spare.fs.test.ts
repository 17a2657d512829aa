/** Creates that find a sprite made already. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { startHarness } from "./testing/harness.ts";

test("a create takes a spare sprite, and is what was asked for since then", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  worker.spares = ["sprite-spare-1"];
  const { body, status } = await call("POST", "/v1/sprites", {
    ...{ name: "box", environment: { A: "b" }, labels: ["x"], durability: "durable" },
  });
  assert.equal(status, 201);
  assert.equal(body.id, "sprite-spare-1");
  assert.partialDeepStrictEqual(worker.created, [
    { id: "sprite-spare-1", name: "box", environment: { A: "b" }, durability: "durable" },
  ]);
  assert.deepEqual(worker.spares, []);
  // When there is none, creates work as before.
  const other = await call("POST", "/v1/sprites", { name: "other" });
  assert.equal(other.status, 201);
  assert.match(String(other.body.id), /^sprite-[0-9a-f-]{36}$/);
});

test("a create that is refused gives its spare back; one that fails uses it up", async () => {
  await using harness = await startHarness({
    limits: { creationsPerMinuteMax: 3, runningMax: null },
  });
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  worker.spares = ["sprite-spare-1"];
  assert.equal((await call("POST", "/v1/sprites", { name: "box" })).status, 409);
  assert.equal((await call("POST", "/v1/sprites", { name: "Not A Name" })).status, 400);
  assert.deepEqual(worker.spares, ["sprite-spare-1"]);
  worker.createError = new Error("broken");
  assert.equal((await call("POST", "/v1/sprites", { name: "other" })).status, 500);
  assert.deepEqual(worker.spares, []);
  assert.ok(worker.destroyed.includes("sprite-spare-1"));
});

test("who waits for a place to run keeps no spare from others", async () => {
  await using harness = await startHarness({
    limits: { creationsPerMinuteMax: null, runningMax: 1 },
  });
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "runs" });
  worker.spares = ["sprite-spare-1"];
  const waiting = call("POST", "/v1/sprites", { name: "waits", wait_for_capacity: true });
  const refused = await call("POST", "/v1/sprites", { name: "refused" });
  assert.equal(refused.status, 429);
  assert.deepEqual(worker.spares, ["sprite-spare-1"]);
  await call("DELETE", "/v1/sprites/runs");
  const { status, body } = await waiting;
  assert.equal(status, 201);
  assert.notEqual(body.id, "sprite-spare-1");
});

test("a worker is told at the start which sprites somebody has", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  worker.spares = ["sprite-spare-1"];
  await call("POST", "/v1/sprites", { name: "box" });
  assert.equal(worker.isRegistered?.("sprite-spare-1"), true);
  assert.equal(worker.isRegistered?.("sprite-spare-2"), false);
});
