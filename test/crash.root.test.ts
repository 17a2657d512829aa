/** What survives: the server killed, everything killed, the cache gone. Promises of design.md section 7. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { checkFileSystem } from "./support/fsck.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { checkWriteLoad, startWriteLoad } from "./support/writer.ts";

const filesBeforeTheCrash = 150;

let server: TestServer;
beforeEach(async () => {
  server = await TestServer.start();
});
afterEach(() => server?.close());

test("the server killed in the middle of a write load loses no fsynced byte", async () => {
  const highest = await crashUnderLoad(() => server.kill());
  await server.startProcess();
  await checkWriteLoad(server.client().sprite("loaded"), highest);
  await stopAndCheckFileSystem();
});

test("everything killed at once loses no fsynced byte", async () => {
  const highest = await crashUnderLoad(async () => {
    const children = await childrenOf(server.places);
    assert.ok(children.length >= 2, "an agent and an image server run");
    await Promise.all([server.kill(), killAll(children)]);
  });
  await server.startProcess();
  await checkWriteLoad(server.client().sprite("loaded"), highest);
  await stopAndCheckFileSystem();
});

test("an agent killed under its container is replaced, and its clients get an error", async () => {
  const sprite = await server.client().createSprite("orphan");
  await sprite.execFile("sh", ["-c", "echo kept > ~/file; sync"]);
  const running = sprite.execFile("sleep", ["60"]);
  const outcome = running.then(
    () => "exit 0",
    () => "error",
  );
  const sessionSeen = await waitUntil(
    async () => {
      const response = await server.request("/v1/sprites/orphan/exec");
      return ((await response.json()) as { count: number }).count === 1;
    },
    { timeoutMs: 30_000 },
  );
  assert.ok(sessionSeen);
  await killAll(await childrenOf(server.places, "sprite"));
  assert.equal(await outcome, "error");
  const { stdout } = await sprite.execFile("cat", ["/home/sprite/file"]);
  assert.equal(stdout, "kept\n");
});

test("a box whose first process is ended boots again, and its sessions are told", async () => {
  const sprite = await server.client().createSprite("reboot");
  await sprite.execFile("sh", ["-c", "echo kept > ~/file; sync"]);
  const outcome = sprite.execFile("sleep", ["60"]).then(
    () => "exit 0",
    () => "error",
  );
  // The first process waits for the reader of its lifeline, which is one of its children.
  const end = "kill -9 $(cat /proc/1/task/1/children)";
  await sprite.execFile("sudo", ["sh", "-c", end]).catch(() => undefined);
  assert.equal(await outcome, "error");
  const { stdout } = await sprite.execFile("sh", ["-c", "cat ~/file"]);
  assert.equal(stdout, "kept\n");
  assert.ok(server.log.some((line) => line.includes("the container ended by itself")));
});

test("an image server that dies takes no sprite's data with it", async () => {
  const sprite = await server.client().createSprite("imageless");
  await sprite.execFile("sh", ["-c", "echo kept > ~/file; sync"]);
  await killAll(await childrenOf(server.places));
  const { stdout } = await sprite.execFile("cat", ["/home/sprite/file"]);
  assert.equal(stdout, "kept\n");
});

test("with the cache gone, everything older than two seconds is there", async () => {
  const sprite = await server.client().createSprite("loaded");
  const load = startWriteLoad(sprite);
  await loadReached(load, filesBeforeTheCrash);
  const crashedAtMs = performance.now();
  const children = await childrenOf(server.places);
  await Promise.all([server.kill(), killAll(children)]);
  await rm(`${server.dataDirectory}/cache`, { recursive: true, force: true });

  const old = load.acknowledged().filter(({ atMs }) => atMs < crashedAtMs - 2_000);
  await server.startProcess();
  const highest = old.at(-1)?.number ?? -1;
  if (highest >= 0) await checkWriteLoad(server.client().sprite("loaded"), highest);
  await stopAndCheckFileSystem();
});

async function crashUnderLoad(crash: () => Promise<void>): Promise<number> {
  const sprite = await server.client().createSprite("loaded");
  const load = startWriteLoad(sprite);
  await loadReached(load, filesBeforeTheCrash);
  await crash();
  const highest = load.acknowledged().at(-1)?.number ?? -1;
  assert.ok(highest >= filesBeforeTheCrash);
  return highest;
}

async function loadReached(load: ReturnType<typeof startWriteLoad>, count: number): Promise<void> {
  const reached = (): boolean => (load.acknowledged().at(-1)?.number ?? -1) >= count;
  assert.ok(await waitUntil(reached, { timeoutMs: 60_000 }), "the load makes progress");
}

async function stopAndCheckFileSystem(): Promise<void> {
  const response = await server.request("/v1/sprites/loaded");
  const { id } = (await response.json()) as { id: string };
  await server.stop();
  await checkFileSystem({ dataDirectory: server.dataDirectory, spriteId: id });
}
