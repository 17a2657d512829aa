/** An agent that is killed under its running container costs the guest a pause and its clients a reconnection, nothing else. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { isAlive, type ProcessIdentity } from "../src/base/process-identity.ts";
import { waitUntil } from "../src/base/wait.ts";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import { runCommand } from "../src/host/command.ts";
import { takeoversInARowMax } from "../src/worker/limits.ts";
import { checkFileSystem } from "./support/fsck.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { checkpointId, drainStream } from "./support/streams.ts";
import { survivorCheck, survivorScript, type SurvivorReport } from "./support/survivor.ts";
import { openExec } from "./support/websocket.ts";

const kills = 12;
/** How long the guest may be made to wait at most. Measured on an idle machine: 0.3 to 0.5 s. */
const pauseMsMax = 10_000;
const random = seededRandom(20_261_124);

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server?.close());
afterEach((context) => {
  if (context.signal.aborted) process.stderr.write(`${server.log.slice(-40).join("\n")}\n`);
});

interface SessionSummary {
  id: string;
  command: string;
  tty: boolean;
}

async function sessionsOf(name: string): Promise<SessionSummary[]> {
  const response = await server.request(`/v1/sprites/${name}/exec`);
  assert.equal(response.status, 200);
  return ((await response.json()) as { sessions: SessionSummary[] }).sessions;
}

async function openDetached(
  name: string,
  argv: string[],
  tty: boolean,
): Promise<{ id: string; closed: Promise<{ code: number }> }> {
  const marker = argv.at(-1) ?? "";
  const { closed } = await openExec(server, `/v1/sprites/${name}/exec`, [
    ...argv.map((word) => ["cmd", word] as const),
    ["tty", String(tty)],
    ["stdin", "true"],
    ["max_run_after_disconnect", "1h"],
  ]);
  let id = "";
  const found = await waitUntil(
    async () => {
      const session = (await sessionsOf(name)).find((one) => one.command.includes(marker));
      id = session?.id ?? "";
      return session !== undefined;
    },
    { timeoutMs: 10_000 },
  );
  assert.ok(found, `the session ${marker} is listed`);
  return { id, closed };
}

/** The one agent there is. */
async function agentOf(): Promise<ProcessIdentity> {
  const [agent] = await childrenOf(server.places, "sprite");
  assert.ok(agent !== undefined, "an agent runs");
  return agent;
}

async function killAgent(): Promise<void> {
  const agent = await agentOf();
  assert.ok(isAlive(agent));
  await killAll([agent]);
}

async function firstProcessOf(sprite: Sprite): Promise<string> {
  const script = "cut -d ' ' -f 22 /proc/1/stat; cat /proc/sys/kernel/random/boot_id";
  return String((await sprite.execFile("sh", ["-c", script])).stdout);
}

test("killed again and again, an agent's sprite loses nothing and sees no error", async () => {
  const sprite = await server.client().createSprite("survivor");
  const first = await firstProcessOf(sprite);
  const opened = await openDetached("survivor", ["python3", "-c", survivorScript], false);
  const load = opened.id;
  const script = "cat; echo input ended; exit 5 # holds its input";
  const { id: reader } = await openDetached("survivor", ["sh", "-c", script], false);
  const terminalScript = "stty -echo; while read line; do echo got $line; done # on a terminal";
  const { id: terminal } = await openDetached("survivor", ["sh", "-c", terminalScript], true);
  const pausesMs: number[] = [];
  for (let kill = 0; kill < kills; kill++) {
    await delay(100 + random() * 1_500);
    // In the middle of something, for two out of three.
    const work = [
      () => Promise.resolve(),
      () => sprite.createCheckpoint(`before kill ${kill}`).then((stream) => stream.next()),
      () => sprite.execFile("sh", ["-c", "head -c 20000000 /dev/urandom > ~/noise; sync"]),
    ][kill % 3] as () => Promise<unknown>;
    const working = work().catch(() => undefined);
    await delay(random() * 60);
    const start = performance.now();
    await killAgent();
    const ids = (await sessionsOf("survivor")).map(({ id }) => id);
    pausesMs.push(Math.round(performance.now() - start));
    for (const id of [load, reader, terminal]) {
      assert.ok(ids.includes(id), `kill ${kill}: session ${id} runs on: ${ids.join(" ")}`);
    }
    await working;
  }
  process.stdout.write(`# until the next agent answered: ${pausesMs.join(" ")} ms\n`);
  assert.equal(await firstProcessOf(sprite), first, "the container is the same");
  assert.equal((await opened.closed).code, 1011, "its client was told that the server failed");

  const again = sprite.attachSession(load);
  let output = "";
  again.stdout.on("data", (bytes: Buffer) => (output += bytes.toString()));
  assert.ok(await waitUntil(() => output.includes("tick "), { timeoutMs: 10_000 }), "it is heard");
  await sprite.execFile("touch", ["/home/sprite/survivor/stop"]);
  assert.equal(await again.wait(), 7);

  const { stdout } = await sprite.execFile("cat", ["/home/sprite/survivor/report"]);
  const report = JSON.parse(String(stdout)) as SurvivorReport;
  process.stdout.write(
    `# ${report.rounds} rounds, the longest ${Math.round(report.longestMs)} ms\n`,
  );
  assert.equal(report.errorCount, 0, report.errors.join("; "));
  assert.ok(report.longestMs < pauseMsMax, `a pause of ${report.longestMs} ms`);
  const checked = await sprite.execFile("python3", ["-c", survivorCheck]);
  assert.equal(Number(checked.stdout), report.rounds);

  const typing = sprite.attachSession(terminal);
  await once(typing, "spawn");
  let typed = "";
  typing.stdout.on("data", (bytes: Buffer) => (typed += bytes.toString()));
  await waitUntil(
    () => {
      typing.stdin.write("hello\n");
      return typed.includes("got hello");
    },
    { timeoutMs: 10_000, intervalMs: 100 },
  );
  assert.match(typed, /got hello\r\n/);
  typing.stdin.write("\x04");
  assert.equal(await typing.wait(), 0);

  const reading = sprite.attachSession(reader);
  await once(reading, "spawn");
  let read = "";
  reading.stdout.on("data", (bytes: Buffer) => (read += bytes.toString()));
  const echoed = await waitUntil(
    () => {
      reading.stdin.write("more\n");
      return read.includes("more");
    },
    { timeoutMs: 10_000, intervalMs: 100 },
  );
  assert.ok(echoed, "its input is open still");
  await sprite.execFile("pkill", ["-x", "cat"]);
  assert.equal(await reading.wait(), 5);

  await stopAndCheck("survivor");
});

test("an agent killed in the middle of a restore leaves one of both states, and a box that works", async () => {
  const sprite = await server.client().createSprite("restored");
  await sprite.execFile("sh", ["-c", "echo old > ~/state; sync"]);
  const id = checkpointId(await drainStream(await sprite.createCheckpoint("old")));
  const seen: string[] = [];
  for (let round = 0; round < 4; round++) {
    await sprite.execFile("sh", ["-c", "echo new > ~/state; sync"]);
    const restoring = sprite
      .restoreCheckpoint(id)
      .then(drainStream)
      .catch(() => undefined);
    await delay(random() * 250);
    await killAgent();
    await restoring;
    const state = String((await sprite.execFile("cat", ["/home/sprite/state"])).stdout);
    assert.match(state, /^(old|new)\n$/, `round ${round}`);
    seen.push(state.trim());
  }
  process.stdout.write(`# after restores that were cut short: ${seen.join(" ")}\n`);
  await drainStream(await sprite.restoreCheckpoint(id));
  assert.equal((await sprite.execFile("cat", ["/home/sprite/state"])).stdout, "old\n");
  await stopAndCheck("restored");
});

test("an agent killed in the middle of a start is started again, and nobody hears of it", async () => {
  const creating = server.client().createSprite("starting");
  const found = await waitUntil(
    async () => (await childrenOf(server.places, "sprite")).length === 1,
    { timeoutMs: 10_000, intervalMs: 5 },
  );
  assert.ok(found);
  await delay(random() * 100);
  await killAgent();
  const sprite = await creating;
  assert.equal((await sprite.execFile("echo", ["up"])).stdout, "up\n");
  await sprite.destroy();
});

test("when no agent survives the takeover, the sprite starts anew from what was synced", async () => {
  const sprite = await server.client().createSprite("anew");
  await sprite.execFile("sh", ["-c", "echo kept > ~/file; sync"]);
  const first = await firstProcessOf(sprite);
  // The one that lived, and those that came to take over.
  for (let kill = 0; kill < 2 + takeoversInARowMax; kill++) {
    const found = await waitUntil(
      async () => (await childrenOf(server.places, "sprite")).some(isAlive),
      { timeoutMs: 10_000, intervalMs: 2 },
    );
    assert.ok(found);
    await killAgent();
  }
  assert.equal((await sprite.execFile("cat", ["/home/sprite/file"])).stdout, "kept\n");
  assert.notEqual(await firstProcessOf(sprite), first, "it is another container");
  await sprite.destroy();
});

test("an agent killed together with its helper leaves no disk frozen", async () => {
  const sprite = await server.client().createSprite("frozen");
  const agent = await agentOf();
  // As an agent does it: the mark first (agent/disk.ts).
  const script = `cd ${server.places.runDirectory}/sprites/* && touch freezing && fsfreeze --freeze disk`;
  await runCommand("nsenter", [`--mount=/proc/${agent.pid}/ns/mnt`, "sh", "-c", script], {
    deadlineMs: 10_000,
  });
  const writing = sprite
    .execFile("sh", ["-c", "echo thawed > ~/file; sync"])
    .catch(() => undefined);
  await delay(200);
  await killAgent();
  await writing;
  const { stdout } = await sprite.execFile("sh", ["-c", "echo thawed > ~/file; sync; cat ~/file"]);
  assert.equal(stdout, "thawed\n");
  await sprite.destroy();
});

test("a checkpoint that is being read inside stays readable while agents die", async () => {
  const sprite = await server.client().createSprite("looking");
  await sprite.execFile("sh", ["-c", "head -c 20000000 /dev/urandom > ~/data; sync"]);
  const id = checkpointId(await drainStream(await sprite.createCheckpoint("seen")));
  const path = `/.sprite/checkpoints/${id}/home/sprite/data`;
  const script = `
    until [ -e ${path} ]; do sleep 0.1; done
    until [ -e /tmp/enough ]; do cmp ${path} /home/sprite/data || exit 9; done # looks`;
  const looking = await openDetached("looking", ["sh", "-c", script], false);
  for (let kill = 0; kill < 4; kill++) {
    await writeFile("/proc/sys/vm/drop_caches", "3");
    await delay(300 + random() * 700);
    await killAgent();
    await sessionsOf("looking");
  }
  const again = sprite.attachSession(looking.id);
  await once(again, "spawn");
  await sprite.execFile("touch", ["/tmp/enough"]);
  assert.equal(await again.wait(), 0);
  await sprite.destroy();
});

test("an image server that is killed under a running sprite costs it a pause", async () => {
  const sprite = await server.client().createSprite("reader");
  const first = await firstProcessOf(sprite);
  const script = `
    end=$(($(date +%s) + 8))
    while [ $(date +%s) -lt $end ]; do
      find /usr -xdev -type f -size -200k -exec cat {} + > /dev/null || exit 9
    done # reads the image`;
  const reading = await openDetached("reader", ["sh", "-c", script], false);
  const again = sprite.attachSession(reading.id);
  const ended = again.wait();
  for (let kill = 0; kill < 4; kill++) {
    // So that the readers need the server.
    await writeFile("/proc/sys/vm/drop_caches", "3");
    await delay(200 + random() * 800);
    await killAll(await childrenOf(server.places, "image"));
  }
  assert.equal(await ended, 0);
  assert.equal(await firstProcessOf(sprite), first, "the container is the same");
  await sprite.destroy();
});

test("a server that is killed takes all with it, also what outlived its agents", async () => {
  const sprite = await server.client().createSprite("twice");
  await sprite.execFile("sh", ["-c", "echo kept > ~/file; sync"]);
  await killAgent();
  await sprite.execFile("true", []);
  const children = await childrenOf(server.places);
  await Promise.all([server.kill(), killAll(children)]);
  await server.startProcess();
  const again = server.client().sprite("twice");
  assert.equal((await again.execFile("cat", ["/home/sprite/file"])).stdout, "kept\n");
  await server.stop();
  assert.deepEqual(await tracesOf(server.places), []);
});

/** Stops the server, looks at the stopped disk with e2fsck and at the machine, and starts it again. */
async function stopAndCheck(name: string): Promise<void> {
  const response = await server.request(`/v1/sprites/${name}`);
  const { id } = (await response.json()) as { id: string };
  await server.stop();
  assert.deepEqual(await tracesOf(server.places), []);
  await checkFileSystem({ dataDirectory: server.dataDirectory, spriteId: id });
  await server.startProcess();
}
