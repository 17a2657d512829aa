import assert from "node:assert/strict";
import { test } from "node:test";
import { must } from "../base/assert.ts";
import type { ActivityObject } from "../contract/activity.ts";
import { startHarness, type Harness } from "./testing/harness.ts";

async function activityOf(harness: Harness, name: string): Promise<ActivityObject> {
  const { status, body } = await harness.call("GET", `/v1/sprites/${name}/activity`);
  assert.equal(status, 200);
  return body as unknown as ActivityObject;
}

test("why a sprite sleeps is known when nothing of it runs, and by the next server", async () => {
  const first = await startHarness();
  await first.call("POST", "/v1/sprites", { name: "box", idle_window: "5m" });
  const { body } = await first.call("GET", "/v1/sprites/box");
  await first.worker.stop(String(body.id), "it had been suspended for long");
  const asleep = await activityOf(first, "box");
  assert.equal(asleep.status, "cold");
  assert.equal(asleep.idle_window_seconds, 300);
  assert.equal(asleep.slept_because, "it had been suspended for long");
  assert.ok(Date.parse(asleep.woke_at ?? "") <= Date.parse(asleep.slept_at ?? ""));
  assert.equal(first.worker.startCount, 1);
  await first.control.stop();
  const second = await startHarness({ dataDirectory: first.dataDirectory });
  assert.deepEqual(await activityOf(second, "box"), asleep);
  // Killed while it runs, it says nothing more.
  await second.worker.ensureRunning(
    must(await specOf(second), "its spec was told"),
    undefined,
    "GET fs/read",
  );
  await second.control.stop();
  const third = await startHarness({ dataDirectory: first.dataDirectory });
  const { slept_because, woke_because } = await activityOf(third, "box");
  assert.deepEqual([slept_because, woke_because], ["its server ended", "GET fs/read"]);
  for (const harness of [third, second, first]) await harness[Symbol.asyncDispose]();
});

/** What control would give its worker. */
async function specOf(harness: Harness) {
  await harness.call("PUT", "/v1/sprites/box", { idle_window: "off" });
  return harness.worker.configured.at(-1);
}

test("the idle window is the sprite's own, is told to it, and stays with its forks", async () => {
  await using harness = await startHarness();
  const { body } = await harness.call("POST", "/v1/sprites", { name: "box" });
  assert.equal(body["idle_window"], "default");
  const put = (idle_window: unknown) => harness.call("PUT", "/v1/sprites/box", { idle_window });
  assert.equal((await put("1h30m")).body["idle_window"], "1h30m");
  assert.equal(harness.worker.configured.at(-1)?.idleWindow, 5_400_000);
  const fork = await harness.call("POST", "/v1/sprites", { name: "copy", from: { sprite: "box" } });
  assert.equal(fork.body["idle_window"], "1h30m");
  for (const wrong of ["0s", "999ms", 0.5, "721h", "never", {}, []]) {
    const { status, body: error } = await put(wrong);
    assert.deepEqual([status, error["error"]], [400, "invalid_request"], JSON.stringify(wrong));
  }
  harness.worker.configureError = new Error("the agent does not take it");
  assert.equal((await put("off")).status, 500);
  const after = await harness.call("GET", "/v1/sprites/box");
  assert.equal(after.body["idle_window"], "1h30m");
});
