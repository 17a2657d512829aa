/** The unmodified official SDK against the front door. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SpritesClient } from "@fly/sprites";

import { startHarness } from "./testing/harness.ts";

test("the JavaScript SDK creates, finds, changes, checks, restarts, watches and deletes", async () => {
  await using harness = await startHarness();
  const client = new SpritesClient(harness.token, { baseURL: harness.baseUrl });
  const sprite = await client.createSprite("sdk-box", {
    config: { ramMB: 512, cpus: 2 },
    environment: { FOO: "bar" },
    labels: ["ci"],
    urlSettings: { auth: "sprite" },
    waitForCapacity: true,
    runtime: "dev",
  });
  assert.equal(sprite.name, "sdk-box");
  const found = await client.getSprite("sdk-box");
  assert.partialDeepStrictEqual(found, {
    organizationName: "acme",
    status: "running",
    labels: ["ci"],
  });
  assert.deepEqual(found.config, { ramMB: 512, cpus: 2, region: undefined, storageGB: undefined });
  assert.ok(found.createdAt instanceof Date && found.lastRunningAt instanceof Date);

  await client.createSprite("sdk-other");
  const page = await client.listSprites({ maxResults: 1, prefix: "sdk-" });
  assert.partialDeepStrictEqual(page, {
    hasMore: true,
    organizationName: "acme",
    running: 2,
    cold: 0,
  });
  const all = await client.listAllSprites("sdk-");
  assert.deepEqual(
    all.map(({ name }) => name),
    ["sdk-box", "sdk-other"],
  );

  await client.updateURLSettings("sdk-box", { auth: "public" });
  assert.equal((await client.getSprite("sdk-box")).urlSettings?.auth, "public");
  assert.partialDeepStrictEqual(await client.checkSprite("sdk-box"), { status: "ok" });
  assert.equal((await client.restartSprite("sdk-box")).spriteName, "sdk-box");
  await client.upgradeSprite("sdk-box");
  const watch = await client.watchSprites({ prefix: "sdk-b" });
  assert.partialDeepStrictEqual(await watch.next(), { name: "sdk-box", status: "running" });
  await harness.worker.stop(found.id ?? "");
  assert.partialDeepStrictEqual(await watch.next(), { name: "sdk-box", status: "cold" });
  await client.deleteSprite("sdk-other");
  await assert.rejects(client.getSprite("sdk-other"), /not found/i);
  await assert.rejects(client.createSprite("sdk-box"), /exists already/);
  await assert.rejects(client.createSprite("No"), /lower-case/);
  await assert.rejects(new SpritesClient("x", { baseURL: harness.baseUrl }).listSprites());
});
