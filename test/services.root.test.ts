/** Services of a real sprite: through restarts, restores, forks, and the death of its agent. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { ServiceLogEvent, Sprite } from "@fly/sprites";

import { waitUntil } from "../src/base/wait.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { checkpointId, drainStream } from "./support/streams.ts";

const waitMs = 30_000;

let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("served");
});
after(() => server?.close());

async function eventsOf(stream: AsyncIterable<ServiceLogEvent>): Promise<string[]> {
  const types: string[] = [];
  for await (const event of stream) types.push(event.type);
  return types;
}

async function shell(script: string, of: Sprite = sprite): Promise<string> {
  return String((await of.execFile("sh", ["-c", script])).stdout).trim();
}

async function becomes(status: string, name: string, of: Sprite = sprite): Promise<number> {
  const has = async (): Promise<boolean> => (await of.getService(name)).state?.status === status;
  assert.ok(await waitUntil(has, { timeoutMs: waitMs }), `${name} becomes ${status}`);
  return (await of.getService(name)).state?.pid ?? 0;
}

const ticker = 'while :; do echo "tick $((n += 1))"; sleep 0.05; done';

test("services run again after a restart of the sprite, and those that were stopped do not", async () => {
  await eventsOf(await sprite.createService("ticker", { cmd: "sh", args: ["-c", ticker] }, "0s"));
  await eventsOf(await sprite.createService("idle", { cmd: "sleep", args: ["1000"] }, "0s"));
  await eventsOf(await sprite.stopService("idle"));
  const restart = await server.request("/v1/sprites/served/restart", { method: "POST" });
  assert.equal(restart.status, 200, await restart.text());
  await becomes("running", "ticker");
  assert.equal((await sprite.getService("idle")).state?.status, "stopped");
  assert.equal(await shell("pgrep -cf '^sleep 1000' || true"), "0");
});

test("the logs are where the contract has them, inside", async () => {
  const lines = await shell("head -n 2 /.sprite/logs/services/ticker.log");
  assert.match(lines, /^\d{4}-\d\d-\d\dT[\d:.]+Z \[stdout\] tick 1$/m);
});

test("sprite-env does all of it from the inside", async () => {
  const script = `
    sprite-env services create inner --cmd sh --args -c,'echo inner; exec sleep 1000' --duration 2s
    sprite-env services list
    sprite-env services signal inner TERM
    sprite-env services stop inner
    sprite-env services start inner --duration 0s
    sprite-env services restart inner --duration 0s
    sprite-env services get inner
    sprite-env services delete inner`;
  const output = await shell(`set -e; ${script}`);
  assert.match(output, /"type":"stdout","data":"inner\\n"/);
  assert.match(output, /"status":"running"/);
  assert.match(output, /Signaled service inner/);
  assert.match(output, /Deleted service inner/);
});

test("an agent that dies leaves its services running, and their logs go on", async () => {
  const pid = await becomes("running", "ticker");
  const [agent] = await childrenOf(server.places, "sprite");
  assert.ok(agent !== undefined);
  process.kill(agent.pid, "SIGKILL");
  // Whoever asks in that moment is told so.
  const answers = async (): Promise<boolean> => {
    return await sprite.listServices().then(
      () => true,
      () => false,
    );
  };
  assert.ok(await waitUntil(answers, { timeoutMs: waitMs }));
  assert.equal(await becomes("running", "ticker"), pid);
  const size = await shell("wc -l < /.sprite/logs/services/ticker.log");
  const grows = async (): Promise<boolean> => {
    return Number(await shell("wc -l < /.sprite/logs/services/ticker.log")) > Number(size);
  };
  assert.ok(await waitUntil(grows, { timeoutMs: waitMs }));
  assert.equal((await sprite.getService("idle")).state?.status, "stopped");
  // For a moment each of its children has its command line.
  const isOne = async (): Promise<boolean> => (await shell("pgrep -fc '[t]ick '")) === "1";
  assert.ok(await waitUntil(isOne, { timeoutMs: waitMs }));
});

test("a checkpoint holds the services, and a fork has them", async () => {
  const id = checkpointId(await drainStream(await sprite.createCheckpoint("with services")));
  await sprite.deleteService("ticker");
  await eventsOf(await sprite.startService("idle", "0s"));
  await drainStream(await sprite.restoreCheckpoint(id));
  await becomes("running", "ticker");
  assert.equal((await sprite.getService("idle")).state?.status, "stopped");

  const body = JSON.stringify({ name: "forked", from: { sprite: "served", checkpoint: id } });
  const created = await server.request("/v1/sprites", { method: "POST", body });
  assert.equal(created.status, 201, await created.text());
  const forked = server.client().sprite("forked");
  // A fork sleeps until something needs it to run.
  await forked.execFile("true", []);
  await becomes("running", "ticker", forked);
  assert.equal((await forked.getService("idle")).state?.status, "stopped");
  await forked.delete();
});

test("a server that is stopped ends them in order, and has them run again", async () => {
  const script = `trap 'sleep 0.2; echo ended >> ~/ended; exit 0' TERM; echo up; while :; do sleep 0.05; done`;
  await eventsOf(await sprite.createService("careful", { cmd: "sh", args: ["-c", script] }, "0s"));
  const isUp = async (): Promise<boolean> => {
    return (await shell("cat /.sprite/logs/services/careful.log || true")).endsWith("up");
  };
  assert.ok(await waitUntil(isUp, { timeoutMs: waitMs }));
  await server.stop();
  await server.startProcess();
  sprite = server.client().sprite("served");
  assert.equal(await shell("cat ~/ended"), "ended");
  await becomes("running", "careful");
  await becomes("running", "ticker");
});
