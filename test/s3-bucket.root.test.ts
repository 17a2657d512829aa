/** A server whose bucket is a real S3 store, some way off and unreliable: Ceph's radosgw behind a proxy. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { startSlowProxy, type SlowProxy } from "../src/storage/object-store/testing/slow-proxy.ts";
import { makeTestBucket, type TestBucket } from "../src/testing/radosgw.ts";
import { TestServer } from "./support/server.ts";

let bucket: TestBucket;
let proxy: SlowProxy;
let server: TestServer;
let sprite: Sprite;
before(async () => {
  bucket = await makeTestBucket();
  proxy = await startSlowProxy({ endpoint: bucket.endpoint, roundTripMs: 5 });
  Object.assign(process.env, bucket.environment);
  const url = bucket.url.replace(bucket.endpoint, proxy.endpoint).replace("?", "/prefix?");
  server = await TestServer.start({ arguments: ["--bucket", url] });
  sprite = await server.client().createSprite("far");
});
after(async () => {
  await server?.close();
  await proxy?.stop();
});

async function call(method: string, path: string): Promise<string> {
  const signal = AbortSignal.timeout(40_000);
  const response = await server.request(`/v1/sprites/far/${path}`, { method, signal });
  return await response.text();
}

async function shell(command: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", command])).stdout).trim();
}

test("a checkpoint is in the bucket although replies to its writes get lost", async () => {
  await shell("head -c 3000000 /dev/urandom > ~/one; sha256sum ~/one > ~/one.sum; sync");
  proxy.repliesToCut = 5;
  assert.match(await call("POST", "checkpoint"), /"type":"complete"/);
  assert.equal(proxy.repliesToCut, 0, "some were lost");
  await shell("echo changed > ~/one; sync");
  assert.match(await call("POST", "checkpoints/v0/restore"), /"type":"complete"/);
  assert.match(await shell("sha256sum -c ~/one.sum"), /OK/);
});

test("an outage is said, and over when the bucket is back", async () => {
  proxy.isDown = true;
  await shell("echo two > ~/two; sync");
  const isFailing = async (): Promise<boolean> => (await call("GET", "check")).includes("failing");
  assert.ok(await waitUntil(isFailing, { timeoutMs: 60_000, intervalMs: 500 }));
  proxy.isDown = false;
  const isWell = async (): Promise<boolean> => (await call("GET", "check")).includes('"ok"');
  assert.ok(await waitUntil(isWell, { timeoutMs: 60_000, intervalMs: 500 }));
});

test("all of it is there without a local cache, and nothing of it lay beside the bucket", async () => {
  await server.stop();
  await rm(join(server.dataDirectory, "cache"), { recursive: true, force: true });
  await rm(join(server.dataDirectory, "bucket"), { recursive: true, force: true });
  await server.startProcess();
  sprite = server.client().sprite("far");
  assert.match(await shell("sha256sum -c ~/one.sum"), /OK/);
  assert.equal(await shell("cat ~/two"), "two");
});

test("a sprite sees none of the bucket's credentials, and no log does", async () => {
  const secret = bucket.environment["AWS_SECRET_ACCESS_KEY"] ?? "";
  assert.ok(secret.length > 0);
  const seen = await shell("env; sudo cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'");
  assert.ok(!seen.includes(secret) && !seen.includes("AWS_"));
  assert.ok(!server.log.some((line) => line.includes(secret)));
});
