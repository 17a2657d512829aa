/** A disk that is looked after: checkpoints that say what they hold, restores undone, damage repaired. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, rm, truncate } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { Sprite } from "@fly/sprites";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const run = promisify(execFile);
const bin = resolve(import.meta.dirname, "../bin/sprite");

let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("cared");
});
after(() => server?.close());

/** The command line client, as its users have it. */
async function cli(...args: string[]): Promise<string> {
  const env = {
    PATH: process.env["PATH"],
    HOME: server.dataDirectory,
    SPRITES_API_URL: server.url,
    SPRITE_TOKEN: server.token,
    SPRITE: "cared",
  };
  const { stdout } = await run(bin, args, { env, timeout: 60_000, cwd: server.dataDirectory });
  return stdout;
}

async function write(text: string): Promise<void> {
  await sprite.execFile("sh", ["-c", `echo ${text} > ~/state; sync`]);
}

async function state(): Promise<string> {
  return String((await sprite.execFile("cat", ["/home/sprite/state"])).stdout).trim();
}

test("a checkpoint and the live disk say what they hold, and that it is in the bucket", async () => {
  await write("one");
  await cli("checkpoint", "create");
  const first = await cli("checkpoint", "info", "v0");
  assert.match(first, /\nSize: +[\d.]+ [KM]iB\nUnique: .*would free\nSynced: +yes\n/);
  const current = JSON.parse(await cli("checkpoint", "info", "Current", "--json")) as {
    size_bytes: number;
    sync: { synced_at: string; sync_problem: null; fenced: boolean };
  };
  assert.ok(current.size_bytes > 100_000, "an ext4 with a home directory");
  assert.partialDeepStrictEqual(current.sync, { sync_problem: null, fenced: false });
  assert.ok(Date.now() - Date.parse(current.sync.synced_at) < 60_000);
});

test("a restore is undone, and the undo too", async () => {
  await write("two");
  assert.match(await cli("restore", "v0"), /Restored from v0/);
  assert.equal(await state(), "one");
  assert.match(
    await cli("restore", "--undo"),
    /Restored from auto-\S+, the state before restore of v0/,
  );
  assert.equal(await state(), "two");
  await cli("restore", "--undo");
  assert.equal(await state(), "one");
  await cli("restore", "--undo");
  assert.equal(await state(), "two");
});

/** Runs a script in the mount namespace of the only agent, where its disk is. */
async function besideAgent(script: (directory: string) => string): Promise<void> {
  const [agent] = await childrenOf(server.places, "sprite");
  const sprites = join(server.places.runDirectory, "sprites");
  const [name] = await readdir(sprites);
  assert.ok(agent !== undefined && name !== undefined);
  const shell = ["sh", "-ec", script(join(sprites, name))];
  await run("nsenter", ["--mount", `--target=${agent.pid}`, ...shell]);
}

/**
 * Zeros the superblock of the sprite's disk. A mounted file system would write it back, so it is
 * first kept from starting, then unmounted; the agent, which does not know, is killed.
 */
async function zeroSuperblock(): Promise<void> {
  await besideAgent((at) => `mv ${at}/disk/upper ${at}/disk/gone; touch ${at}/disk/upper; sync`);
  assert.equal((await call("POST", "restart")).status, 503);
  const zero = "dd if=/dev/zero bs=4096 count=1 conv=notrunc,fsync status=none";
  await besideAgent((at) =>
    [
      `rm ${at}/disk/upper; mv ${at}/disk/gone ${at}/disk/upper; umount ${at}/disk`,
      `${zero} of=${at}/fuse/live`,
    ].join("\n"),
  );
  await killAll(await childrenOf(server.places, "sprite"));
}

async function call(method: string, path: string): Promise<{ status: number; text: string }> {
  const signal = AbortSignal.timeout(60_000);
  const response = await server.request(`/v1/sprites/cared/${path}`, { method, signal });
  return { status: response.status, text: await response.text() };
}

test("a disk that does not mount says what can be done, and a repair does it", async () => {
  await zeroSuperblock();
  const refused = await call("POST", "exec?cmd=true");
  assert.equal(refused.status, 503, refused.text);
  assert.match(refused.text, /sprite repair.*sprite restore.*v0/);
  assert.match(refused.text, /"choices":\["repair","restore"\]/);
  assert.match((await call("GET", "check")).text, /not_started.*sprite repair/);
  assert.match(await cli("repair"), /repaired; the state before is kept as auto-/);
  assert.equal(await state(), "two");
  assert.match((await call("GET", "check")).text, /"status":"ok"/);
});

test("a durable sprite's synced writes outlive the machine's disk", async () => {
  assert.equal(await cli("durability"), "local\n");
  assert.equal(await cli("durability", "durable"), "durable\n");
  await write("three");
  await Promise.all([server.kill(), killAll(await childrenOf(server.places))]);
  await rm(join(server.dataDirectory, "cache"), { recursive: true });
  await server.startProcess();
  sprite = server.client().sprite("cared");
  assert.equal(await state(), "three");
  assert.equal(await cli("durability"), "durable\n");
});

test("a checkpoint that cannot be read is refused while the sprite runs on", async () => {
  const { stdout } = await sprite.execFile("sh", ["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
  const bucket = join(server.dataDirectory, "bucket/sprites");
  for (const path of await readdir(bucket, { recursive: true })) {
    if (/\/data\/..\/./.test(path)) await truncate(join(bucket, path), 100);
  }
  assert.match((await call("POST", "checkpoints/v0/restore")).text, /"type":"error".*v0 cannot/);
  await sprite.execFile("kill", ["-0", String(stdout).trim()]);
});
