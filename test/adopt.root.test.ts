/** A server that ends, however it ends, leaves its sprites running, and the next one goes on with them. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { identifyProcess, isAlive, type ProcessIdentity } from "../src/base/process-identity.ts";
import { waitUntil } from "../src/base/wait.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { openExec, type ExecSocket } from "./support/websocket.ts";

const withinMs = 60_000;
const boxes = ["left", "right"] as const;
const sessionsPerBox = 50;
const serveArguments = ["--idle-window", "1s", "--warm-time", "off"];
/** Sessions that are opened or joined at once. */
const parallel = 10;

let server: TestServer;
before(async () => {
  server = await TestServer.start({ arguments: serveArguments });
});
after(async () => await server?.close());
afterEach((context) => {
  if (context.signal.aborted) process.stderr.write(`${server.log.slice(-40).join("\n")}\n`);
});

interface Live {
  box: string;
  id: string;
  /** What it has printed so far, by all accounts. */
  output: string;
  exec: ExecSocket;
}

const lives: Live[] = [];

async function run(name: string, script: string): Promise<string> {
  const { stdout } = await server.client().sprite(name).execFile("sh", ["-c", script]);
  return String(stdout).trim();
}

async function call(method: string, path: string, body?: unknown): Promise<unknown> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await server.request(`/v1/sprites/${path}`, init);
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text.startsWith("{") && !text.includes("\n{") ? JSON.parse(text) : text;
}

async function statusOf(name: string): Promise<string> {
  return ((await call("GET", name)) as { status: string }).status;
}

async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const next = async (): Promise<void> => {
    for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await act(item);
  };
  await Promise.all(Array.from({ length: parallel }, next));
}

/** A pipe session's binary messages begin with the stream's number. */
function printed(exec: ExecSocket): string {
  return exec
    .bytes()
    .toString("latin1")
    .replaceAll(/[^\n -~]/g, "");
}

async function hears(exec: ExecSocket, text: string): Promise<void> {
  const isThere = await waitUntil(() => printed(exec).includes(text), { timeoutMs: withinMs });
  assert.ok(isThere, `heard ${JSON.stringify(printed(exec))}, not ${JSON.stringify(text)}`);
}

function say(exec: ExecSocket, text: string): void {
  exec.socket.send(Buffer.concat([Buffer.of(0), Buffer.from(text)]));
}

/** Each is joined anew, has printed what it had, and answers. */
async function allGoOn(when: string): Promise<void> {
  await inParallel(lives, async (live) => {
    live.exec.socket.terminate();
    live.exec = await openExec(server, `/v1/sprites/${live.box}/exec/${live.id}`, []);
    await hears(live.exec, live.output);
    say(live.exec, `${when}\n`);
    live.output += `${when}\n`;
    await hears(live.exec, live.output);
  });
}

/** What runs outside of the sprites; and inside, what only the same container has. */
async function identity(): Promise<unknown> {
  const agents = await childrenOf(server.places, "sprite");
  const inside = await Promise.all(boxes.map((box) => run(box, "pgrep -x cat | sort | xargs")));
  return { agents: agents.map(({ pid, startTime }) => `${pid} ${startTime}`).toSorted(), inside };
}

describe("a server that is replaced", () => {
  test(`it is killed with -9 during ${boxes.length * sessionsPerBox} live sessions, and none is lost`, async () => {
    await Promise.all(boxes.map((box) => server.client().createSprite(box)));
    await server.client().createSprite("sleeper");
    await run("sleeper", "(setsid sleep 12345 > /dev/null 2>&1 < /dev/null &)");
    await call("PUT", "left/services/held", { cmd: "sleep", args: ["54321"] });
    await call("POST", "left/tasks", { name: "upload", expire: "1h" });
    const numbered = boxes.flatMap((box) =>
      Array.from({ length: sessionsPerBox }, (_, index) => ({ box, index })),
    );
    await inParallel(numbered, async ({ box, index }) => {
      const exec = await openExec(server, `/v1/sprites/${box}/exec`, [
        ...["sh", "-c", `echo begun ${index}; exec cat`].map((word) => ["cmd", word] as const),
        ...([
          ["stdin", "true"],
          ["max_run_after_disconnect", "1h"],
        ] as const),
      ]);
      await hears(exec, `begun ${index}\n`);
      const info = exec.messages().find(({ type }) => type === "session_info");
      lives.push({ box, id: String(info?.["session_id"]), output: `begun ${index}\n`, exec });
    });
    const isWarm = async (): Promise<boolean> => (await statusOf("sleeper")) === "warm";
    assert.ok(await waitUntil(isWarm, { timeoutMs: withinMs }), "the third one sleeps");
    const sleeping = await childrenOf(server.places, "sprite");
    const whole = await identity();

    await server.kill();
    const startedAtMs = performance.now();
    await server.startProcess();
    const tookMs = Math.round(performance.now() - startedAtMs);
    process.stdout.write(`# the next server was ready after ${tookMs} ms\n`);
    assert.equal(await statusOf("sleeper"), "warm", "one that slept sleeps on");
    assert.deepEqual(await childrenOf(server.places, "sprite"), sleeping, "with the same agents");
    await allGoOn("after the kill");
    assert.deepEqual(await identity(), whole, "in the same containers");
    assert.equal(await run("left", "pgrep -cf '^sleep 54321'"), "1", "the service runs");
    const { tasks } = (await call("GET", "left/tasks")) as { tasks: Array<{ name: string }> };
    assert.deepEqual(
      tasks.map(({ name }) => name),
      ["upload"],
    );
    assert.equal(await run("sleeper", "pgrep -cf '^sleep 12345'"), "1", "it wakes as it was");
  });

  test("at SIGTERM it leaves them as well; the next one replaces an agent that dies", async () => {
    // Of the others nothing new is to be learnt.
    for (const { exec } of lives.splice(10)) exec.socket.terminate();
    const whole = await identity();
    await server.leave();
    assert.deepEqual(await childrenOf(server.places, "any"), await aliveOf(server));
    // A start that fails, late as that is, leaves them as they were.
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    server.setArguments([...serveArguments, "--listen", `127.0.0.1:${port}`]);
    await assert.rejects(server.startProcess(), /EADDRINUSE/);
    other.close();
    server.setArguments(serveArguments);
    await server.startProcess();
    await allGoOn("after the leave");
    assert.deepEqual(await identity(), whole);
    await killAll(await childrenOf(server.places));
    // What was printed for nobody to see is an agent's memory.
    for (const live of lives) live.output = "";
    await allGoOn("after the agents' death");
    assert.notDeepEqual(await identity(), whole);
    for (const { exec } of lives) exec.socket.terminate();
  });

  test("an agent that has no server for too long stores its disk and ends", async () => {
    server.setArguments(["--orphan-time", "1s"]);
    await server.kill();
    await server.startProcess();
    // It is told of the time at its start.
    await call("POST", "right/restart");
    assert.equal(await run("right", "pgrep -c -x cat; echo kept > ~/note"), "0");
    await call("DELETE", "left");
    const agent = await agentOf("right");
    await server.kill();
    const isGone = (): boolean => !isAlive(agent);
    assert.ok(await waitUntil(isGone, { timeoutMs: withinMs }));
    await server.startProcess();
    assert.equal(await statusOf("right"), "cold");
    assert.equal(await run("right", "cat ~/note"), "kept");
  });
});

describe("an operator", () => {
  test("drains a server and takes that back, and ends it", async () => {
    const held = await openExec(server, "/v1/sprites/right/exec", [
      ["cmd", "cat"],
      ["stdin", "true"],
    ]);
    assert.match(await spritesd("drain"), /\n0 sprites have yet .*\ndrained: .*\n$/);
    assert.equal(await statusOf("right"), "cold");
    assert.notEqual((await held.closed).code, 1000);
    const refused = await server.request("/v1/sprites/right/exec?cmd=true", { method: "POST" });
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get("retry-after"), "30");
    await refused.body?.cancel();
    await assert.rejects(server.client().createSprite("late"), { statusCode: 503 });
    const readiness = await server.request("/readyz");
    assert.deepEqual([readiness.status, await readiness.json()], [503, { status: "drained" }]);
    assert.equal(await spritesd("drain", "--undo"), "the server takes work again\n");
    assert.equal((await server.request("/readyz")).status, 200);
    assert.equal(await run("right", "cat ~/note"), "kept");
    await spritesd("stop");
    assert.deepEqual(await tracesOf(server.places), []);
    await assert.rejects(spritesd("drain"), /no server runs on this data directory/);
  });
});

async function spritesd(...words: string[]): Promise<string> {
  const program = join(import.meta.dirname, "../bin/spritesd");
  const command = [...words, "--data", server.dataDirectory];
  return (await promisify(execFile)(program, command)).stdout;
}

async function agentOf(name: string): Promise<ProcessIdentity> {
  const titles = await Promise.all(
    (await childrenOf(server.places, "sprite")).map(async (child) => ({
      child,
      title: await readFile(`/proc/${child.pid}/cmdline`, "latin1"),
    })),
  );
  const found = titles.find(({ title }) => title.startsWith(`sprite ${name}`));
  assert.ok(found, `${name} runs`);
  return found.child;
}

async function aliveOf({ places }: TestServer): Promise<unknown[]> {
  return (await childrenOf(places)).filter(({ pid }) => identifyProcess(pid) !== null);
}
