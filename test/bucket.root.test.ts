/** A bucket that refuses: nobody is left waiting, nothing is lost, and all of it is said. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import { tracesOf } from "./support/machine.ts";
import { TestServer } from "./support/server.ts";

const deadlineMs = 5_000;

let bucket: string;
let server: TestServer;
let sprite: Sprite;
before(async () => {
  bucket = await mkdtemp(join(tmpdir(), "opensprites-bucket-"));
  await runCommand("mount", ["-t", "tmpfs", "-o", "size=500m", "tmpfs", bucket], { deadlineMs });
  server = await TestServer.start({ arguments: ["--bucket", bucket] });
  sprite = await server.client().createSprite("patient");
});
after(async () => {
  await server?.close();
  await runCommand("umount", ["--lazy", bucket], { deadlineMs });
  await rm(bucket, { recursive: true, force: true });
});

async function remount(mode: "ro" | "rw"): Promise<void> {
  await runCommand("mount", ["-o", `remount,${mode}`, bucket], { deadlineMs });
}

async function call(method: string, path: string): Promise<string> {
  const signal = AbortSignal.timeout(20_000);
  const response = await server.request(`/v1/sprites/patient/${path}`, { method, signal });
  return await response.text();
}

async function generation(): Promise<string> {
  return String((await sprite.execFile("cat", ["/home/sprite/generation"])).stdout).trim();
}

test("what needs the bucket fails in time and says why, and the sprite goes on", async () => {
  await sprite.execFile("sh", ["-c", "echo one > ~/generation; sync"]);
  assert.match(await call("POST", "checkpoint"), /"type":"complete"/);
  await remount("ro");
  await sprite.execFile("sh", ["-c", "echo two > ~/generation; sync"]);
  const checkpoint = call("POST", "checkpoint");
  assert.match(await checkpoint, /"type":"error".*not in the bucket yet.*read-only/);
  assert.match(await call("GET", "check"), /"status":"failing".*read-only/);
  assert.match(await call("POST", "checkpoints/v0/restore"), /"type":"error".*not in the bucket/);
  assert.equal(await generation(), "two", "the sprite runs again, as it was");
  const refused = server.client().createSprite("refused");
  await assert.rejects(refused, /put object|read-only/i, "the reason, not what came of it");
});

test("once the bucket takes writes again, all is well by itself", async () => {
  await remount("rw");
  const isWell = async (): Promise<boolean> => (await call("GET", "check")).includes('"ok"');
  assert.ok(await waitUntil(isWell, { timeoutMs: 90_000, intervalMs: 200 }));
  assert.match(await call("POST", "checkpoints/v0/restore"), /"type":"complete"/);
  assert.equal(await generation(), "one");
});

test("a server stops in order and in time beside it, and nothing is lost", async () => {
  await remount("ro");
  await sprite.execFile("sh", ["-c", "echo three > ~/generation; sync"]);
  await server.stop();
  assert.deepEqual(await tracesOf(server.places), []);
  assert.ok(!server.log.some((line) => line.includes("did not stop in time")));
  await remount("rw");
  await server.startProcess();
  sprite = server.client().sprite("patient");
  assert.equal(await generation(), "three");
});
