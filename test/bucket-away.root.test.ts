/** Sprites whose fsync waits for the bucket, while the bucket is away: they wait, and nothing else does. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const deadlineMs = 5_000;
/** How long it is looked whether somebody goes on who must not. */
const waitingMs = 1_500;
/** Attempts to store are up to half a minute apart. */
const answeredWithinMs = 90_000;

let bucket: string;
let server: TestServer;
let sprite: Sprite;
before(async () => {
  bucket = await mkdtemp(join(tmpdir(), "opensprites-bucket-"));
  await runCommand("mount", ["-t", "tmpfs", "-o", "size=500m", "tmpfs", bucket], { deadlineMs });
  server = await TestServer.start({ arguments: ["--bucket", bucket] });
  sprite = await makeDurable("careful");
});
after(async () => {
  await server?.close();
  await runCommand("umount", ["--lazy", bucket], { deadlineMs });
  await rm(bucket, { recursive: true, force: true });
});

async function makeDurable(name: string): Promise<Sprite> {
  const made = await server.request("/v1/sprites", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name, durability: "durable" }),
  });
  assert.equal(made.status, 201, await made.text());
  return server.client().sprite(name);
}

async function remount(mode: "ro" | "rw"): Promise<void> {
  await runCommand("mount", ["-o", `remount,${mode}`, bucket], { deadlineMs });
}

async function shell(script: string, on = sprite): Promise<string> {
  return String((await on.execFile("sh", ["-c", script])).stdout).trim();
}

/** Writes a file, and says so in memory once the bucket has it. */
async function writeAndWait(name: string, on = sprite): Promise<void> {
  const script = `echo ${name} > ~/${name}; sync ~/${name}; echo yes > /dev/shm/${name}; echo yes > ~/${name}.answered`;
  await shell(`nohup sh -c '${script}' > /dev/null 2>&1 &`, on);
}

const isAnswered = async (name: string): Promise<boolean> =>
  (await shell(`cat /dev/shm/${name} 2>/dev/null || true`)) === "yes";

/** Whether any server may have the careful sprite at once, since all of it is in the bucket. */
async function isLetGo(): Promise<boolean> {
  const { id } = (await (await server.request("/v1/sprites/careful")).json()) as { id: string };
  const head = await readFile(join(bucket, "sprites", id, "head.json"), "utf8");
  return (JSON.parse(head) as { holder: unknown }).holder === null;
}

test("an fsync waits for the bucket, also through the death of the agent", async () => {
  await writeAndWait("one");
  assert.ok(await waitUntil(() => isAnswered("one"), { timeoutMs: 10_000 }));
  await remount("ro");
  await writeAndWait("two");
  await delay(waitingMs);
  assert.ok(!(await isAnswered("two")));
  const agents = await childrenOf(server.places, "sprite");
  assert.equal(agents.length, 1);
  await killAll(agents);
  assert.equal(await shell("cat ~/one"), "one", "the next agent needs no bucket");
  await delay(waitingMs);
  assert.ok(!(await isAnswered("two")));
  await remount("rw");
  assert.ok(
    await waitUntil(() => isAnswered("two"), { timeoutMs: answeredWithinMs, intervalMs: 200 }),
    server.log
      .filter((line) => !line.includes('"request"'))
      .slice(-60)
      .join("\n"),
  );
});

test("a sprite is restarted on this machine while the bucket is away, and destroyed", async () => {
  const other = await makeDurable("other");
  await writeAndWait("first", other);
  await remount("ro");
  const bornAt = (): Promise<string> => shell("cut -d ' ' -f 22 /proc/1/stat", other);
  let born = await bornAt();
  await writeAndWait("second", other);
  await delay(waitingMs);
  const restarts = [
    // As a computer would that was reset.
    () => shell("sudo sh -c 'kill -9 $(cat /proc/1/task/1/children)'", other),
    () => server.request("/v1/sprites/other/restart", { method: "POST" }),
  ];
  for (const restart of restarts) {
    const before = born;
    await restart().catch(() => undefined);
    const isAnew = async (): Promise<boolean> => {
      born = await bornAt().catch(() => before);
      return born !== before;
    };
    assert.ok(await waitUntil(isAnew, { timeoutMs: 60_000, intervalMs: 100 }));
    assert.equal(
      await shell("cat ~/first ~/second; ls ~/second.answered || echo none", other),
      "first\nsecond\nnone",
    );
  }
  const signal = AbortSignal.timeout(15_000);
  const destroyed = await server.request("/v1/sprites/other", { method: "DELETE", signal });
  assert.equal(destroyed.status, 204, "what the bucket has of it goes later");
  await remount("rw");
});

test("a server stops in time, who waits is never told yes, and the start after it has everything", async () => {
  await remount("ro");
  await writeAndWait("three");
  await delay(waitingMs);
  assert.ok(!(await isAnswered("three")));
  await server.stop();
  assert.deepEqual(await tracesOf(server.places), []);
  assert.ok(!server.log.some((line) => line.includes("did not stop in time")));
  await remount("rw");
  await server.startProcess();
  // Nobody has to start it for that.
  assert.ok(await waitUntil(isLetGo, { timeoutMs: 60_000, intervalMs: 100 }));
  sprite = server.client().sprite("careful");
  assert.equal(
    await shell("cat ~/three; ls ~/three.answered 2>&1 | grep -c 'No such'"),
    "three\n1",
  );
});
