import assert from "node:assert/strict";
import { test } from "node:test";

import { must } from "../base/assert.ts";
import { startHarness } from "./testing/harness.ts";

test("whoever waits for a sprite that is deleted meanwhile does not get the one that has its name next", async () => {
  await using harness = await startHarness();
  const { call, control } = harness;
  const { body } = await call("POST", "/v1/sprites", { name: "box" });
  const label = new URL(String(body["url"])).hostname.split(".")[0] ?? "";
  const shortId = label.slice("box-".length);
  const letIn = must(control.spriteUrls.find("box", shortId), "it has a URL");
  await call("DELETE", "/v1/sprites/box");
  await call("POST", "/v1/sprites", { name: "box" });
  const { signal } = new AbortController();
  await assert.rejects(control.spriteUrls.open(letIn, signal), { code: "not_found" });
  const next = must(control.spriteUrls.find("box", shortId), "the next one has it now");
  // As far as the fake worker goes.
  await assert.rejects(control.spriteUrls.open(next, signal), { code: "unavailable" });
});
