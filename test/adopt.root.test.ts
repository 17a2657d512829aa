/** A server that ends, however, leaves its sprites running, and the next one goes on with them. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const withinMs = 60_000;
const sessionsTotal = 100;

let server: TestServer;
before(async () => {
  server = await TestServer.start({ arguments: ["--idle-window", "off"] });
});
after(async () => await server?.close());

async function run(name: string, script: string): Promise<string> {
  const { stdout } = await server.client().sprite(name).execFile("sh", ["-c", script]);
  return String(stdout).trim();
}

interface Session {
  id: string;
  is_active?: boolean;
  command: string;
}

async function sessionsOf(name: string): Promise<Session[]> {
  const response = await server.request(`/v1/sprites/${name}/exec`);
  assert.equal(response.status, 200);
  return ((await response.json()) as { sessions: Session[] }).sessions;
}

describe("a server is replaced", () => {
  test("its sprite goes on under the one that comes after kill -9", async () => {
    const sprite = await server.client().createSprite("first");
    await run("first", "echo kept > /tmp/note; (setsid sleep 1000 >/dev/null 2>&1 </dev/null &)");
    const before = await run("first", "cat /proc/sys/kernel/random/boot_id; pgrep -x sleep");
    const agents = await childrenOf(server.places, "sprite");
    await server.kill();
    await server.startProcess();
    assert.deepEqual(await childrenOf(server.places, "sprite"), agents, "the same agent");
    assert.equal(await run("first", "cat /proc/sys/kernel/random/boot_id; pgrep -x sleep"), before);
    assert.equal(await run("first", "cat /tmp/note"), "kept");
    void sprite;
    void sessionsTotal;
    void sessionsOf;
    void waitUntil;
    void withinMs;
    void killAll;
  });
});
