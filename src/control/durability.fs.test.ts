/** What an fsync waits for, as users set it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SpriteError } from "../contract/errors.ts";
import { startHarness } from "./testing/harness.ts";

test("durability is set at once or not at all", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  assert.equal((await call("POST", "/v1/sprites", { name: "box" })).body["durability"], "local");
  const path = "/v1/sprites/box";
  const changed = await call("PUT", path, { durability: "durable", labels: ["db"] });
  assert.partialDeepStrictEqual(changed.body, { durability: "durable", labels: ["db"] });
  assert.deepEqual(
    worker.configured.map(({ durability }) => durability),
    ["durable"],
  );
  await call("PUT", path, { durability: "durable" });
  assert.equal(worker.configured.length, 1, "what is so already is nobody's news");
  worker.configureError = new SpriteError("storage_failure", "it does not answer");
  assert.equal((await call("PUT", path, { durability: "local" })).status, 500);
  assert.equal((await call("GET", path)).body["durability"], "durable");
  assert.equal((await call("PUT", path, { durability: "often" })).status, 400);
  const made = await call("POST", "/v1/sprites", { name: "safe", durability: "durable" });
  assert.equal(made.body["durability"], "durable");
  assert.equal((await call("PUT", `${path}/durability`, { durability: "local" })).status, 404);
});
