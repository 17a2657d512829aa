import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { isOutcomeUnknown } from "../call-scope.ts";
import { attemptsMax, hedgeSamplesMin, retryTokensMax } from "../limits.ts";
import { startScriptedS3Server, type ScriptedS3Server } from "../testing/scripted-s3-server.ts";
import { CredentialSource } from "./credentials.ts";
import { parseS3Url } from "./location.ts";
import { S3ObjectStore, type S3Options } from "./s3-object-store.ts";

const text = (value: string): Buffer => Buffer.from(value);
const environment = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "the-secret" };

async function setUp(
  test: TestContext,
  options: Partial<S3Options> & { settings?: string } = {},
): Promise<{ server: ScriptedS3Server; store: S3ObjectStore; pausesMs: number[] }> {
  const server = await startScriptedS3Server(test);
  const pausesMs: number[] = [];
  const store = new S3ObjectStore({
    location: parseS3Url(`s3://bucket?endpoint=${server.endpoint}${options.settings ?? ""}`, {}),
    credentials: new CredentialSource(environment),
    random: () => 0.5,
    sleep: async (delayMs) => void pausesMs.push(delayMs),
    ...options,
  });
  test.after(() => store.close());
  return { server, store, pausesMs };
}

/** All attempts of a call, and the question after them. */
const forever = <T>(turn: T): T[] => Array.from({ length: attemptsMax }, () => turn);

describe("S3 object store, retries", () => {
  it("tries again after each failure that may pass, with growing pauses, slower when throttled", async (test) => {
    const { server, store, pausesMs } = await setUp(test);
    server.objects.set("a", text("content"));
    server.script = [
      { status: 500, code: "InternalError" },
      "cut before",
      "truncate",
      { status: 503, code: "SlowDown" },
      { status: 429, headers: { "retry-after": "1" } },
    ];
    assert.equal(Buffer.from((await store.get("a")) ?? []).toString(), "content");
    assert.deepEqual(pausesMs, [25, 50, 100, 1_600, 3_500]);
    assert.equal(store.statistics().requests.get, 6, "each attempt is billed");
  });

  it("does not repeat what cannot succeed, and says why without the secret", async (test) => {
    const { server, store } = await setUp(test);
    server.script = [{ status: 403, code: "AccessDenied" }];
    await assert.rejects(store.get("a"), { code: "storage_failure", message: /403: AccessDenied/ });
    server.script = [{ status: 400, code: "AuthorizationHeaderMalformed", region: "eu-west-7" }];
    await assert.rejects(store.put("a", text("x")), { message: /it is in eu-west-7/ });
    assert.equal(server.requests.length, 2);
    assert.ok(!server.requests.some((request) => JSON.stringify(request).includes("the-secret")));
  });

  it("gives up after its attempts, and asks once a call when all calls fail", async (test) => {
    const { server, store } = await setUp(test);
    for (let call = 0; call < 40; call++) {
      server.script = forever({ status: 500 });
      await assert.rejects(store.get("a"), { code: "storage_failure" });
    }
    assert.equal(server.requests.length, 40 + retryTokensMax);
  });

  it("takes the server's clock when its own is wrong", async (test) => {
    const { server, store } = await setUp(test, { now: () => 0 });
    const date = new Date(Date.UTC(2031, 4, 6, 7, 8, 9)).toUTCString();
    server.script = [{ status: 403, code: "RequestTimeTooSkewed", headers: { date } }];
    await store.put("a", text("x"));
    assert.equal(server.requests[0]?.headers["x-amz-date"], "19700101T000000Z");
    assert.equal(server.requests[1]?.headers["x-amz-date"], "20310506T070809Z");
  });

  it("gives up a connection on which nothing moves", async (test) => {
    const { server, store } = await setUp(test, { idleMsMax: 30 });
    server.objects.set("a", text("content"));
    server.script = ["hang"];
    assert.ok(await store.get("a"));
  });

  it("deletes again what was not deleted", async (test) => {
    const { server, store } = await setUp(test);
    for (const key of ["x", "stubborn", "y"]) server.objects.set(key, text("1"));
    await store.deleteMany(["x", "stubborn", "y"]);
    assert.equal(server.objects.size, 0);
    assert.doesNotMatch(server.requests[1]?.body.toString() ?? "", /<Key>x</);
  });

  it("takes a list that was cut off for none", async (test) => {
    const { server, store } = await setUp(test);
    server.objects.set("a/1", text("1"));
    server.script = [{ status: 200 }, "truncate"];
    const keys: string[] = [];
    for await (const { key } of store.list("a/")) keys.push(key);
    assert.deepEqual(keys, ["a/1"]);
    assert.equal(server.requests.length, 3);
  });
});

describe("S3 object store, conditional writes without an answer", () => {
  for (const lost of [
    "cut after",
    { status: 500, isDone: true },
    { status: 504, isDone: true },
  ] as const) {
    it(`knows its own write again: ${JSON.stringify(lost)}`, async (test) => {
      const { server, store } = await setUp(test);
      server.script = [lost];
      assert.equal(await store.putIfAbsent("a", text("ours")), true);
      assert.equal(await store.putIfAbsent("a", text("other")), false);
      const seen = await store.getWithEtag("a");
      server.script = [lost];
      const swapped = await store.swap("a", text("next"), { etag: seen?.etag ?? null });
      assert.equal(swapped?.etag, (await store.getWithEtag("a"))?.etag);
    });

    it(`knows that another was faster: ${JSON.stringify(lost)}`, async (test) => {
      const { server, store } = await setUp(test);
      server.objects.set("a", text("theirs"));
      server.script = [lost];
      assert.equal(await store.putIfAbsent("a", text("ours")), false);
      server.script = [lost];
      assert.equal(await store.swap("a", text("ours"), { etag: "old" }), null);
      assert.equal(server.objects.get("a")?.toString(), "theirs");
    });
  }

  it("asks once more when all attempts failed, and is content with the answer", async (test) => {
    const { server, store } = await setUp(test);
    server.script = ["cut after", ...forever({ status: 500 }).slice(1)];
    assert.equal(await store.putIfAbsent("a", text("ours")), true);
  });

  it("says that it does not know while the write may still arrive", async (test) => {
    const { server, store } = await setUp(test);
    server.script = forever("cut before");
    const error = await store.putIfAbsent("a", text("x")).catch((caught: unknown) => caught);
    assert.ok(isOutcomeUnknown(error));
    server.objects.set("head", text("old"));
    const seen = await store.getWithEtag("head");
    server.script = forever("cut before");
    const swap = store.swap("head", text("new"), { etag: seen?.etag ?? null });
    assert.ok(isOutcomeUnknown(await swap.catch((caught: unknown) => caught)));
    server.script = [...forever<"cut before">("cut before"), { status: 403 }];
    const create = store.putIfAbsent("b", text("x"));
    assert.ok(isOutcomeUnknown(await create.catch((caught: unknown) => caught)));
  });

  it("says so at its deadline, and not when nothing was sent", async (test) => {
    const { server, store } = await setUp(test);
    server.script = ["hang"];
    const create = store.putIfAbsent("a", text("x"), { deadlineMs: 60 });
    assert.ok(isOutcomeUnknown(await create.catch((caught: unknown) => caught)));
    const read = store.get("a", { deadlineMs: 60 });
    server.script = ["hang"];
    await assert.rejects(read, { code: "deadline_exceeded" });
    const nowhere = await setUp(test);
    const { store: unreachable } = await setUp(test, {
      location: parseS3Url("s3://bucket?endpoint=http://127.0.0.1:1", {}),
    });
    const error = await unreachable.putIfAbsent("a", text("x")).catch((caught: unknown) => caught);
    assert.ok(error instanceof Error && !isOutcomeUnknown(error));
    assert.equal(nowhere.server.requests.length, 0);
  });

  it("takes a refusal without doubt at its word, and a race for one to run again", async (test) => {
    const { server, store } = await setUp(test);
    server.script = [{ status: 409, code: "ConditionalRequestConflict" }];
    assert.equal(await store.putIfAbsent("a", text("ours")), true);
    assert.equal(
      await store.putIfAbsent("a", text("ours")),
      false,
      "equal bytes of another call are another's",
    );
    assert.equal(server.requests.length, 3, "no read was needed");
  });

  it("finds out that a store wants tags without quotes, once", async (test) => {
    const { server, store } = await setUp(test);
    server.isUnquoted = true;
    const first = await store.swap("a", text("1"), { etag: null });
    assert.ok(first);
    const second = await store.swap("a", text("2"), first);
    assert.ok(second);
    const count = server.requests.length;
    assert.ok(await store.swap("a", text("3"), second));
    assert.equal(await store.swap("a", text("4"), second), null);
    assert.equal(server.requests.length, count + 2);
  });

  it("stores a file once, through lost replies, never over another", async (test) => {
    const { server, store } = await setUp(test);
    const directory = await mkdtemp(join(tmpdir(), "s3-faults-"));
    test.after(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, "segment");
    await writeFile(file, Buffer.alloc(300_000, 7));
    server.script = ["cut before", "cut after"];
    await store.putFile("data/x", file);
    assert.equal(server.objects.get("data/x")?.length, 300_000);
    server.objects.set("data/x", text("another"));
    await assert.rejects(store.putFile("data/x", file), { code: "storage_failure" });
  });
});

describe("S3 object store, cancellation and hedged reads", () => {
  it("stops at once when it is aborted, also between attempts", async (test) => {
    const { server, store } = await setUp(test, {
      sleep: async (_delayMs, signal) => {
        if (signal !== undefined) await once(signal, "abort");
      },
    });
    const reason = new Error("no longer wanted");
    for (const turn of ["hang", { status: 503, code: "SlowDown" }] as const) {
      const controller = new AbortController();
      server.script = [turn];
      const isSeen = server.requests.length + 1;
      const call = store.putIfAbsent("a", text("x"), { signal: controller.signal });
      while (server.requests.length < isSeen) await new Promise((resolve) => setImmediate(resolve));
      controller.abort(reason);
      await assert.rejects(call, reason);
    }
  });

  it("sends a read again that takes unusually long, and takes the first answer", async (test) => {
    const { server, store } = await setUp(test);
    server.objects.set("a", text("content"));
    for (let read = 0; read < hedgeSamplesMin; read++) await store.get("a");
    server.script = ["hang"];
    assert.equal(Buffer.from((await store.get("a")) ?? []).toString(), "content");
    assert.equal(server.requests.length, hedgeSamplesMin + 2);
  });

  it("sends few second requests when all are slow", async (test) => {
    const { server, store } = await setUp(test, { idleMsMax: 150 });
    server.objects.set("a", text("content"));
    for (let read = 0; read < hedgeSamplesMin; read++) await store.get("a");
    const countBefore = server.requests.length;
    server.script = Array.from({ length: 400 }, () => "hang" as const);
    const reads = Array.from({ length: 20 }, () => store.get("a", { deadlineMs: 120 }));
    const results = await Promise.allSettled(reads);
    assert.ok(results.every(({ status }) => status === "rejected"));
    assert.ok(
      server.requests.length - countBefore <= 20 + 6,
      `${server.requests.length - countBefore}`,
    );
  });
});
