/** What one organization may do at most, and how it is told (contract.md section 14). */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";

import { APIError, SpritesClient } from "@fly/sprites";
import WebSocket from "ws";

import type { SpriteStatus } from "../contract/sprite.ts";
import { createToken } from "./tokens.ts";
import { CreationRate } from "./creation-rate.ts";
import { capacityWaitMsMax } from "./limits.ts";
import { RunningLimit } from "./running-limit.ts";
import { startHarness, type Harness, type Json } from "./testing/harness.ts";

function client(harness: Harness): SpritesClient {
  return new SpritesClient(harness.token, { baseURL: harness.baseUrl });
}

async function refusal(work: Promise<unknown>): Promise<APIError> {
  const error = await work.then(
    () => assert.fail("it was not refused"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof APIError, String(error));
  return error;
}

describe("creations in a minute", () => {
  const limits = { creationsPerMinuteMax: 2, runningMax: null };

  test("the SDK is told the limit, the window and when to try again", async () => {
    await using harness = await startHarness({ limits });
    const sprites = client(harness);
    await sprites.createSprite("one");
    // Neither counts: nothing was made.
    await refusal(sprites.createSprite("one"));
    await harness.call("POST", "/v1/sprites", { name: "No" });
    await sprites.createSprite("two");
    const error = await refusal(sprites.createSprite("three"));
    assert.ok(error.isRateLimitError() && error.isCreationRateLimited());
    assert.partialDeepStrictEqual(Object.fromEntries(Object.entries(error)), {
      statusCode: 429,
      errorCode: "sprite_creation_rate_limited",
      limit: 2,
      windowSeconds: 60,
      currentCount: 2,
      rateLimitLimit: 2,
      rateLimitRemaining: 0,
    });
    const seconds = error.getRetryAfterSeconds() ?? 0;
    assert.ok(seconds > 0 && seconds <= 60, String(seconds));
    assert.equal(error.retryAfterHeader, error.retryAfterSeconds);
    const resetMs = (error.rateLimitReset ?? 0) * 1000;
    assert.ok(Math.abs(resetMs - Date.now() - seconds * 1000) < 10_000);
  });

  test("forks count too, and other organizations do not notice", async () => {
    await using harness = await startHarness({ limits });
    await harness.call("POST", "/v1/sprites", { name: "one" });
    await harness.call("POST", "/v1/sprites", { name: "two", from: { sprite: "one" } });
    const refused = await harness.call("POST", "/v1/sprites", {
      name: "three",
      from: { sprite: "one" },
    });
    assert.equal(refused.status, 429);
    const { dataDirectory, baseUrl: baseURL } = harness;
    const other = createToken({ dataDirectory, orgSlug: "other", description: "" });
    await new SpritesClient(other, { baseURL }).createSprite("three");
  });

  test("the window slides", () => {
    let nowMs = 0;
    const rate = new CreationRate(2, () => nowMs);
    const isOpen = (): boolean => {
      try {
        rate.assertOpen("acme");
        return true;
      } catch {
        return false;
      }
    };
    rate.note("acme");
    nowMs = 30_000;
    rate.note("acme");
    assert.ok(!isOpen());
    nowMs = 59_999;
    assert.ok(!isOpen());
    nowMs = 60_000;
    assert.ok(isOpen());
    rate.note("acme");
    assert.ok(!isOpen());
  });
});

describe("sprites that run at once", () => {
  const limits = { creationsPerMinuteMax: null, runningMax: 2 };

  test("a create that would be one too many is refused, with the SDK's error", async () => {
    await using harness = await startHarness({ limits });
    const sprites = client(harness);
    await sprites.createSprite("one");
    await sprites.createSprite("two");
    const error = await refusal(sprites.createSprite("three"));
    assert.ok(error.isConcurrentLimitExceeded());
    assert.partialDeepStrictEqual(Object.fromEntries(Object.entries(error)), {
      statusCode: 429,
      limit: 2,
      currentCount: 2,
    });
    assert.equal((await harness.call("GET", "/v1/sprites/three")).status, 404);
    const { body } = await harness.call("GET", "/v1/sprites");
    assert.partialDeepStrictEqual(body, {
      running: 2,
      running_limit: 2,
      warm_limit: 2,
      org: { running: 2, running_limit: 2, warm_limit: 2 },
    });
  });

  test("one that sleeps can't be started then, by a request or a socket; running ones go on", async () => {
    await using harness = await startHarness({ limits });
    const ids: string[] = [];
    for (const name of ["one", "two"]) {
      ids.push(String((await harness.call("POST", "/v1/sprites", { name })).body.id));
    }
    await harness.worker.stop(ids[0] ?? "");
    await harness.call("POST", "/v1/sprites", { name: "three" });
    const { status, body } = await harness.call("POST", "/v1/sprites/one/repair");
    assert.equal(status, 429);
    assert.equal(body["error"], "concurrent_sprite_limit_exceeded");
    assert.equal((await harness.call("POST", "/v1/sprites/one/restart")).status, 429);
    assert.equal((await harness.call("POST", "/v1/sprites/two/restart")).status, 200);
    const socket = new WebSocket(`ws://127.0.0.1:${harness.port}/v1/sprites/one/exec?cmd=true`, {
      headers: { authorization: `Bearer ${harness.token}` },
    });
    const [, response] = (await once(socket, "unexpected-response")) as [
      unknown,
      { statusCode: number; headers: Record<string, string> },
    ];
    assert.equal(response.statusCode, 429);
    assert.ok(Number(response.headers["retry-after"]) > 0);
    assert.equal((await harness.call("GET", "/v1/sprites/two/anything")).status, 200);
    await harness.worker.stop(ids[1] ?? "");
    assert.equal((await harness.call("GET", "/v1/sprites/one/anything")).status, 200);
  });

  test("starts at the same time share the places", async () => {
    await using harness = await startHarness({ limits });
    const names = ["one", "two", "three", "four", "five"];
    const answers = await Promise.all(
      names.map((name) => harness.call("POST", "/v1/sprites", { name })),
    );
    const made = answers.filter(({ status }) => status === 201);
    const refused = answers.filter(({ status }) => status === 429);
    assert.deepEqual([made.length, refused.length], [2, 3]);
  });

  test("wait_for_capacity waits for a place", async () => {
    await using harness = await startHarness({ limits });
    for (const name of ["one", "two"]) await harness.call("POST", "/v1/sprites", { name });
    let isDone = false;
    const body = { name: "three", wait_for_capacity: true };
    const waiting = harness.call("POST", "/v1/sprites", body).finally(() => (isDone = true));
    await harness.call("GET", "/v1/sprites");
    assert.ok(!isDone);
    await harness.call("DELETE", "/v1/sprites/one");
    assert.equal((await waiting).status, 201);
  });

  test("who waits is served in the order of asking, and whoever stops waiting is passed over", async () => {
    const running = new Set(["a"]);
    const statuses = { status: (id: string) => (running.has(id) ? "running" : "cold") } as const;
    const organization = { record: { slug: "acme" }, spriteIds: () => [...running] } as never;
    const limit = new RunningLimit(1, statuses);
    const got: string[] = [];
    const gone = new AbortController();
    const wait = async (id: string, signal: AbortSignal): Promise<void> => {
      const leave = await limit.wait(organization, id, signal);
      got.push(id);
      running.add(id);
      leave();
    };
    const { signal } = new AbortController();
    const first = wait("b", signal);
    const second = wait("c", gone.signal);
    const third = wait("d", signal);
    gone.abort();
    await assert.rejects(second);
    running.delete("a");
    limit.notify();
    await first;
    assert.deepEqual(got, ["b"]);
    running.delete("b");
    limit.notify();
    await third;
    assert.deepEqual(got, ["b", "d"]);
  });

  test("a wait has an end", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const statuses = { status: (): SpriteStatus => "running" };
    const organization = { record: { slug: "acme" }, spriteIds: () => ["a"] } as never;
    const limit = new RunningLimit(1, statuses);
    const waiting = limit.wait(organization, "b", new AbortController().signal);
    context.mock.timers.tick(capacityWaitMsMax);
    await assert.rejects(waiting, { code: "concurrent_sprite_limit_exceeded" });
  });
});

describe("the list", () => {
  test("is filtered by labels, page by page and when watched", async () => {
    await using harness = await startHarness();
    const make = (name: string, labels: string[]): Promise<unknown> =>
      harness.call("POST", "/v1/sprites", { name, labels });
    await make("a", ["ci", "eu"]);
    await make("b", ["ci"]);
    await make("c", ["eu", "ci", '50% "x"']);
    await make("d", []);
    const names = async (query: string): Promise<unknown[]> => {
      const { body } = await harness.call("GET", `/v1/sprites?${query}`);
      return (body["sprites"] as { name: string }[]).map(({ name }) => name);
    };
    assert.deepEqual(await names("label=ci"), ["a", "b", "c"]);
    assert.deepEqual(await names("label=ci&label=eu"), ["a", "c"]);
    assert.deepEqual(await names("label=ci&label=eu&max_results=1"), ["a"]);
    assert.deepEqual(await names(`label=${encodeURIComponent('50% "x"')}`), ["c"]);
    assert.deepEqual(await names("label=none"), []);
    assert.deepEqual(await names("label=&prefix=d"), ["d"]);

    const response = await fetch(`${harness.baseUrl}/v1/sprites?label=eu`, {
      headers: { authorization: `Bearer ${harness.token}`, accept: "application/x-ndjson" },
    });
    await harness.call("DELETE", "/v1/sprites/b");
    await harness.call("DELETE", "/v1/sprites/c");
    await harness.control.stop();
    const lines = (await response.text())
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Json);
    const seen = lines.map(({ name, status }) => `${name} ${String(status)}`);
    // Stopping the sprites before they go is a change of its own.
    assert.deepEqual(
      seen.filter((line) => !line.endsWith("cold")),
      ["a running", "c running", "c deleted"],
    );
  });

  test("bulk_load gives what every list gives: full objects", async () => {
    await using harness = await startHarness();
    await harness.call("POST", "/v1/sprites", { name: "a", environment: { X: "1" } });
    const plain = await harness.call("GET", "/v1/sprites");
    const bulk = await harness.call("GET", "/v1/sprites?bulk_load=true");
    assert.deepEqual(bulk.body, plain.body);
    const [sprite] = bulk.body["sprites"] as object[];
    assert.partialDeepStrictEqual(sprite, { environment: { X: "1" }, labels: [] });
  });
});
