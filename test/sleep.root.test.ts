/** A sprite in which nothing goes on is suspended, then ended; whatever is asked of it finds it as it was. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { childrenOf, killAll } from "./support/processes.ts";
import { tracesOf } from "./support/machine.ts";
import { identifyProcess } from "../src/base/process-identity.ts";
import { waitUntil } from "../src/base/wait.ts";
import { aheadFlag } from "../src/contract/agent-startup.ts";
import { readProcesses } from "../tools/process-tree.ts";
import type { ActivityObject } from "../src/contract/activity.ts";
import { TestServer } from "./support/server.ts";

const withinMs = 30_000;
/** Of the program whose time stands still, and how long it is watched not to go on. */
const tickMs = 200;
const asleepMs = 2_000;
let server: TestServer;

before(async () => {
  server = await TestServer.start({ arguments: ["--idle-window", "500ms", "--warm-time", "off"] });
});
after(async () => await server.close());

async function statusOf(name: string): Promise<string> {
  const response = await server.request(`/v1/sprites/${name}`);
  return ((await response.json()) as { status: string }).status;
}

async function activityOf(name: string): Promise<ActivityObject> {
  const response = await server.request(`/v1/sprites/${name}/activity`);
  assert.equal(response.status, 200);
  return (await response.json()) as ActivityObject;
}

async function untilWarm(name: string): Promise<void> {
  const isWarm = async (): Promise<boolean> => (await statusOf(name)) === "warm";
  assert.ok(await waitUntil(isWarm, { timeoutMs: withinMs, intervalMs: 50 }), await why(name));
}

async function why(name: string): Promise<string> {
  return JSON.stringify(await activityOf(name));
}

async function run(name: string, script: string): Promise<string> {
  const { stdout } = await server.client().sprite(name).execFile("sh", ["-c", script]);
  return String(stdout).trim();
}

describe("sleep", () => {
  test("memory and processes outlive a suspension, and time inside stands still", async () => {
    const sprite = await server.client().createSprite("sleeper");
    const ticker = [
      "import os, time",
      "n = 0",
      "while True:",
      " n += 1",
      // Whole or not at all, for who reads it.
      " with open('/tmp/tick', 'w') as file: file.write(str(n))",
      " os.rename('/tmp/tick', '/tmp/ticks')",
      ` time.sleep(${tickMs / 1000})`,
    ].join("\n");
    const startTicker = `(setsid python3 -c "${ticker}" > /dev/null 2>&1 < /dev/null &)`;
    await run(sprite.name, `${startTicker}; until test -e /tmp/ticks; do sleep 0.05; done`);
    await untilWarm(sprite.name);
    const asleep = await activityOf(sprite.name);
    assert.equal(asleep.status, "warm");
    assert.deepEqual(asleep.awake_because, []);
    assert.ok(asleep.slept_because);
    const startMs = performance.now();
    const before = Number(await run(sprite.name, "cat /tmp/ticks"));
    await untilWarm(sprite.name);
    await delay(asleepMs);
    const after = Number(await run(sprite.name, "cat /tmp/ticks"));
    assert.ok(after > before, "the ticker runs on");
    const awakeMs = performance.now() - startMs - asleepMs;
    // One more when it begins to count, and one when it wakes up.
    const ticksMax = awakeMs / tickMs + 3;
    assert.ok(after - before <= ticksMax, `${after - before} ticks in ${awakeMs} ms awake`);
    assert.match((await activityOf(sprite.name)).woke_because ?? "", /exec/);
  });

  test("looking at a suspended sprite does not wake it", async () => {
    await untilWarm("sleeper");
    const disk = ["/fs/list?path=/etc", "/fs/read?path=/etc/os-release"];
    for (const path of ["", "/exec", "/checkpoints", "/tasks", "/services", "/check", ...disk]) {
      const response = await server.request(`/v1/sprites/sleeper${path}`);
      assert.equal(response.status, 200, path);
    }
    await server.client().listSprites();
    assert.equal(await statusOf("sleeper"), "warm", await why("sleeper"));
  });

  test("a silent command holds a sprite awake until it ends", async () => {
    await run("sleeper", "mkfifo /tmp/go");
    const command = run("sleeper", "read line < /tmp/go; echo $line");
    const isHeld = async (): Promise<boolean> =>
      (await activityOf("sleeper")).awake_because.some(({ kind }) => kind === "command");
    assert.ok(await waitUntil(isHeld, { timeoutMs: withinMs }));
    await delay(1_500);
    assert.equal(await statusOf("sleeper"), "running", await why("sleeper"));
    assert.ok(await isHeld());
    await run("sleeper", "echo done > /tmp/go");
    assert.equal(await command, "done");
    await untilWarm("sleeper");
  });

  test("a shell at its prompt does not hold it, and goes on when it is typed into", async () => {
    const shell = server.client().sprite("sleeper").spawn("sh", [], { tty: true });
    await new Promise((resolve) => shell.once("spawn", resolve));
    let said = "";
    shell.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
    shell.stdin.write("x=kept\n");
    await untilWarm("sleeper");
    shell.stdin.write("echo $x-$x; exit\n");
    await shell.wait();
    assert.match(said, /kept-kept/);
  });

  test("what is sent through a tunnel wakes it, and is answered", async (context) => {
    const echo = [
      "import socketserver as s",
      "class H(s.StreamRequestHandler):",
      " def handle(self):",
      "  for line in self.rfile: self.wfile.write(line)",
      "s.ThreadingTCPServer(('127.0.0.1', 8007), H).serve_forever()",
    ].join("\n");
    await run("sleeper", `setsid python3 -c "${echo}" > /dev/null 2>&1 < /dev/null &`);
    const listening = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8007))'";
    await run("sleeper", `until ${listening} 2>&-; do sleep 0.1; done`);
    const tunnel = await server.client().sprite("sleeper").proxyPort(0, 8007);
    context.after(() => tunnel.close());
    const port = Number(tunnel.localAddr()?.split(":").at(-1));
    const client = connect(port, "localhost");
    context.after(() => client.destroy());
    let heard = "";
    client.on("data", (bytes) => (heard += bytes.toString()));
    for (const word of ["first", "second"]) {
      client.write(`${word}\n`);
      const isHeard = (): boolean => heard.endsWith(`${word}\n`);
      assert.ok(await waitUntil(isHeard, { timeoutMs: withinMs, intervalMs: 20 }), word);
      await untilWarm("sleeper");
    }
    assert.match((await activityOf("sleeper")).woke_because ?? "", /proxy/);
  });

  test("a service's log is read from a suspended sprite", async () => {
    const words = { cmd: "sh", args: ["-c", "echo said; exec sleep 10000"] };
    const created = await server.request("/v1/sprites/sleeper/services/quiet?duration=0s", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(words),
    });
    assert.match(await created.text(), /complete/);
    await untilWarm("sleeper");
    const signal = AbortSignal.timeout(withinMs);
    const logs = await server.request("/v1/sprites/sleeper/services/quiet/logs", { signal });
    assert.match(await logs.text(), /said/);
    await server.request("/v1/sprites/sleeper/services/quiet", { method: "DELETE" });
    await untilWarm("sleeper");
  });

  test("a task holds it", async () => {
    const task = await server.request("/v1/sprites/sleeper/tasks", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "upload", expire: "1h" }),
    });
    assert.equal(task.status, 201, await task.text());
    await delay(1_200);
    assert.equal(await statusOf("sleeper"), "running");
    await server.request("/v1/sprites/sleeper/tasks/upload", { method: "DELETE" });
    await untilWarm("sleeper");
  });

  test("an agent that dies while its sprite is suspended costs it nothing", async () => {
    await run("sleeper", "echo kept > /tmp/kept");
    await untilWarm("sleeper");
    await killAll(await childrenOf(server.places, "sprite"));
    assert.equal(await run("sleeper", "cat /tmp/kept"), "kept");
  });

  test("everything killed while it is suspended leaves nothing in the way of the next start", async () => {
    await run("sleeper", "echo stored > ~/stored; sync");
    await untilWarm("sleeper");
    const children = await childrenOf(server.places);
    await Promise.all([server.kill(), killAll(children)]);
    await server.startProcess();
    assert.equal(await run("sleeper", "cat ~/stored"), "stored");
  });

  test("a command holds it awake against a sleep, unless that is forced, and the reasons are kept", async () => {
    const connection = run("sleeper", "sleep 10000").catch(() => "cut");
    const isHeld = async (): Promise<boolean> =>
      (await activityOf("sleeper")).awake_because.some(({ kind }) => kind === "command");
    assert.ok(await waitUntil(isHeld, { timeoutMs: withinMs }));
    const refused = await server.request("/v1/sprites/sleeper/sleep", { method: "POST" });
    const { error, held_by } = (await refused.json()) as { error: string; held_by: object[] };
    assert.deepEqual([refused.status, error, held_by.length], [409, "busy", 1]);
    const forced = await server.request("/v1/sprites/sleeper/sleep?force=true", { method: "POST" });
    assert.equal(forced.status, 200, await forced.text());
    assert.equal(await connection, "cut");
    const { slept_because, woke_because } = await activityOf("sleeper");
    assert.equal(slept_because, "it was put to sleep");
    assert.ok(woke_because);
  });

  test("its own idle window counts at once, and off is never", async () => {
    const put = async (idle_window: string): Promise<void> => {
      const body = JSON.stringify({ idle_window });
      const headers = { "content-type": "application/json" };
      const answer = await server.request("/v1/sprites/sleeper", { method: "PUT", headers, body });
      assert.equal(answer.status, 200, await answer.text());
    };
    assert.equal(await run("sleeper", "echo awake"), "awake");
    await put("off");
    const { idle_window_seconds, sleeps_at } = await activityOf("sleeper");
    assert.deepEqual([idle_window_seconds, sleeps_at], [null, null]);
    await delay(1_000);
    assert.equal(await statusOf("sleeper"), "running");
    await put("default");
    await untilWarm("sleeper");
  });

  test("put to sleep, nothing of it runs, looking does not wake it, and the next command does", async () => {
    await run("sleeper", "echo stored > ~/stored");
    const response = await server.request("/v1/sprites/sleeper/sleep", { method: "POST" });
    assert.equal(response.status, 200, await response.text());
    assert.equal((await activityOf("sleeper")).status, "cold");
    assert.deepEqual(await childrenOf(server.places, "sprite"), []);
    assert.equal(await run("sleeper", "cat ~/stored"), "stored");
  });

  test("a sprite that has been suspended for long is ended by itself", async () => {
    await server.stop();
    server.setArguments(["--idle-window", "500ms", "--warm-time", "500ms"]);
    await server.startProcess();
    assert.equal(await run("sleeper", "cat ~/stored"), "stored");
    const isCold = async (): Promise<boolean> => (await statusOf("sleeper")) === "cold";
    assert.ok(await waitUntil(isCold, { timeoutMs: withinMs, intervalMs: 50 }));
    // A request that comes while it ends gets the next start.
    for (let n = 0; n < 4; n++) {
      assert.equal(await run("sleeper", "cat ~/stored"), "stored");
      await delay(800 + n * 150);
    }
  });

  test("a sprite wakes in a process that was prepared ahead, and no such process outlives its server", async () => {
    await server.stop();
    server.setArguments(["--idle-window", "off", "--pool", "1", "--log-level", "debug"]);
    await server.startProcess();
    const wakesPrepared = async (): Promise<boolean> => {
      assert.equal(await run("sleeper", "cat ~/stored"), "stored");
      await server.request("/v1/sprites/sleeper/sleep", { method: "POST" });
      return server.log.some((line) => line.includes('"isPrepared":true'));
    };
    assert.ok(await waitUntil(wakesPrepared, { timeoutMs: withinMs, intervalMs: 500 }));
    let prepared: number[] = [];
    const hasNext = async (): Promise<boolean> => {
      prepared = await preparedOf(server.pid);
      return prepared.length === 1;
    };
    assert.ok(await waitUntil(hasNext, { timeoutMs: withinMs, intervalMs: 50 }));
    await server.stop();
    assert.deepEqual(await tracesOf(server.places), []);
    assert.deepEqual(prepared.map(identifyProcess), [null]);
  });
});

/** Agents that wait for a sprite. */
async function preparedOf(serverPid: number): Promise<number[]> {
  const children = (await readProcesses()).filter(({ parentPid }) => parentPid === serverPid);
  const commands = await Promise.all(
    children.map(({ pid }) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return children.flatMap(({ pid }, index) => (commands[index]?.includes(aheadFlag) ? [pid] : []));
}
