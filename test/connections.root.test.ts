/** What clients hold open on a sprite, through the whole server: tunnels, control connections, ports, streams. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import WebSocket from "ws";
import { waitUntil } from "../src/base/wait.ts";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import { startBadNetwork, type Random } from "./support/bad-network.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { soakSeed, soakSetting } from "./support/soak-scale.ts";

let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("box");
});
after(() => server?.close());

interface Open {
  socket: WebSocket;
  texts: string[];
  frames: Buffer[];
  bytes: () => Buffer;
  closed: Promise<number>;
}

function open(path: string, port = Number(new URL(server.url).port)): Open {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/sprites/${path}`, {
    headers: { authorization: `Bearer ${server.token}` },
    perMessageDeflate: false,
  });
  const texts: string[] = [];
  const frames: Buffer[] = [];
  socket.on("message", (data, isBinary) => {
    if (isBinary) frames.push(data as Buffer);
    else texts.push((data as Buffer).toString());
  });
  socket.on("error", () => undefined);
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  return { socket, texts, frames, bytes: () => Buffer.concat(frames), closed };
}

async function until(condition: () => boolean, what: () => unknown = () => ""): Promise<void> {
  assert.ok(await waitUntil(condition, { timeoutMs: 30_000 }), String(what()));
}

/** Listens inside and sends back what it gets. */
async function startEcho(port: number): Promise<void> {
  const script =
    `use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; $| = 1;` +
    `my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => ${port}, Listen => 50, ReuseAddr => 1) or die $!;` +
    `print "up\n"; while (my $c = $s->accept) { next if fork; while (sysread($c, my $b, 65536)) { syswrite($c, $b) } exit }`;
  const command = sprite.spawn("perl", ["-e", script]);
  await once(command.stdout, "data");
}

test("a port inside is reached through the official client's proxy", async () => {
  await startEcho(5001);
  const session = await sprite.proxyPort(0, 5001);
  const port = Number(session.localAddr()?.split(":")[1]);
  const local = connect({ port, host: "localhost" });
  const sent = randomBytes(3_000_000);
  const parts: Buffer[] = [];
  local.on("data", (bytes: Buffer) => parts.push(bytes));
  local.write(sent);
  await until(() => parts.reduce((sum, { length }) => sum + length, 0) >= sent.length);
  assert.ok(Buffer.concat(parts).equals(sent));
  local.destroy();
  session.close();
});

test("control mode through the front door: forty commands at once, each with its own output", async () => {
  const fast = server.client({ controlMode: true }).sprite("box");
  const results = await Promise.all(
    Array.from({ length: 40 }, (_, n) => fast.execFile("echo", [`number ${n}`])),
  );
  assert.deepEqual(
    results.map(({ stdout }) => stdout),
    results.map((_, n) => `number ${n}\n`),
  );
  fast.closeControlConnection();
});

test("Go's operations on files over a control connection", async () => {
  const control = open("box/control");
  await once(control.socket, "open");
  const ask = async (op: string, args: Record<string, string>, content?: Buffer) => {
    const before = control.texts.length;
    const text = new URLSearchParams(args).toString();
    control.socket.send(JSON.stringify({ type: "op.start", op, args: text }));
    if (content !== undefined) control.socket.send(content);
    const isDone = (): boolean => control.texts.at(-1) === '{"type":"op.complete"}';
    await until(
      () => isDone() && control.texts.length > before + 1,
      () => control.texts,
    );
    return JSON.parse(control.texts[before] ?? "") as Record<string, unknown>;
  };
  const content = randomBytes(2_000_000);
  const path = "notes/a.bin";
  const workingDir = "/home/sprite";
  const written = await ask("fs.write", { path, workingDir, mode: "0640" }, content);
  assert.deepEqual(written, { path: `${workingDir}/${path}`, size: content.length, mode: "0640" });
  const part = await ask("fs.read", { path, workingDir, start: "10", end: "1000010" });
  assert.deepEqual(part, { path: `${workingDir}/${path}`, size: 1_000_000 });
  assert.ok(control.bytes().equals(content.subarray(10, 1_000_010)));
  const listed = await ask("fs.list", { path: "notes", workingDir });
  assert.equal(listed["count"], 1);
  const moved = { source: path, dest: "notes/b.bin", workingDir };
  assert.deepEqual(await ask("fs.rename", moved), {
    ...{ source: `${workingDir}/${path}`, dest: `${workingDir}/notes/b.bin` },
  });
  const missing = await ask("fs.read", { path, workingDir });
  assert.deepEqual([missing["code"], missing["path"]], ["ENOENT", `${workingDir}/${path}`]);
  const gone = await ask("fs.delete", { path: "notes", workingDir, recursive: "true" });
  assert.ok(Number(gone["count"]) >= 1);
  control.socket.send('{"type":"release"}');
  control.socket.close();
});

test("the official client watches ports through the front door", async () => {
  const watcher = await sprite.watchPorts();
  assert.equal((await watcher.next())?.type, "port_list");
  await startEcho(5002);
  const opened = await watcher.next();
  assert.ok(opened?.type === "port_opened" && opened.port === 5002, JSON.stringify(opened));
  watcher.close();
});

test("a client that stops reading an endless stream costs the agent less than 32 MB", async () => {
  const [agent] = await childrenOf(server.places, "sprite");
  assert.ok(agent);
  // Both sides are warm before anything is compared.
  await sprite.execFile("head", ["-c", "8000000", "/dev/zero"]);
  const beforeKb = [residentKb(agent.pid), residentKb(server.pid)];
  const words = ["head", "-c", "5G", "/dev/zero"].map((word) => `cmd=${word}`).join("&");
  const stream = open(`box/exec?${words}`);
  await once(stream.socket, "message");
  stream.socket.pause();
  // However long: what is produced is what somebody takes.
  const figures = (): number => residentKb(agent.pid) + residentKb(server.pid);
  let last = 0;
  const isSteady = (): boolean => {
    const nowKb = figures();
    const wasSteady = Math.abs(nowKb - last) < 512;
    last = nowKb;
    return wasSteady;
  };
  await waitUntil(isSteady, { timeoutMs: 10_000, intervalMs: 500 });
  const [agentKb = 0, serverKb = 0] = beforeKb;
  const grownKb = [residentKb(agent.pid) - agentKb, residentKb(server.pid) - serverKb];
  assert.ok(
    grownKb.every((kb) => kb < 32 * 1024),
    `${grownKb.join(", ")} KiB`,
  );
  stream.socket.terminate();
});

/** In KiB; without pages that all agents share. */
function residentKb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]);
}

test("short commands over a network that fails: no lost byte, and no exit 0 that was not one", async () => {
  const seed = soakSeed();
  const random = seededRandom(seed);
  const total = soakSetting("commands", 300);
  const serverPort = Number(new URL(server.url).port);
  await using network = await startBadNetwork({
    ...{ serverPort, random },
    cutShare: 0.5,
    bytesMax: 150_000,
  });
  const ends = { whole: 0, again: 0, unknown: 0 };
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < total) {
      next += 1;
      const what = next;
      const end = await runOnce(network.port, random);
      assert.notEqual(end, null, `seed ${seed}, command ${what}`);
      if (end !== null) ends[end] += 1;
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  assert.ok(network.cuts() > total / 10, String(network.cuts()));
  assert.ok(ends.whole > total / 4 && ends.again > 0, JSON.stringify(ends));
});

/** Runs a command whose output is known, and comes back to it when it was cut off. Null: it lied. */
async function runOnce(
  port: number,
  random: Random,
): Promise<"whole" | "again" | "unknown" | null> {
  const lines = Math.floor(random() * 20_000);
  const code = Math.floor(random() * 4);
  const expected = Array.from({ length: lines }, (_, n) => `${n + 1}\n`).join("");
  // Half of them last until the client has everything, so that they are there still when it comes back.
  const isHeld = random() < 0.5;
  const script = `seq 1 ${lines}; ${isHeld ? "read -r _; " : ""}exit ${code}`;
  const query = ["sh", "-c", script].map((word) => `cmd=${encodeURIComponent(word)}`).join("&");
  const attach = async (path: string): Promise<Open> => {
    const opened = open(path, port);
    opened.socket.on("message", () => {
      if (!isHeld || outputOf(opened).length < expected.length) return;
      opened.socket.send(Buffer.from("\0go\n"));
    });
    await opened.closed;
    return opened;
  };
  let stream = await attach(`box/exec?${query}&stdin=${isHeld}`);
  let wasAgain = false;
  while (exitOf(stream) === null) {
    const id = /"session_id":"(\d+)"/.exec(stream.texts[0] ?? "")?.[1];
    if (id === undefined) return "unknown";
    wasAgain = true;
    stream = await attach(`box/exec/${id}`);
    // It has ended meanwhile, and how is not known any more: that is said, and is not 0.
    if (stream.texts.length === 0 && stream.bytes().length === 0) return "unknown";
  }
  const isTrue = exitOf(stream) === code && outputOf(stream) === expected;
  if (!isTrue) return null;
  return wasAgain ? "again" : "whole";
}

/** What the command wrote to its standard output. */
function outputOf({ frames }: Open): string {
  const written = frames.filter((frame) => frame[0] === 1).map((frame) => frame.subarray(1));
  return Buffer.concat(written).toString();
}

function exitOf({ texts }: Open): number | null {
  const exit = texts.find((text) => text.includes('"type":"exit"'));
  return exit === undefined ? null : (JSON.parse(exit) as { exit_code: number }).exit_code;
}

test("deleting a sprite closes what is open on it with 1001", async () => {
  const [control, ports, tunnel] = [
    ...[open("box/control"), open("box/ports/watch"), open("box/proxy")],
  ] as [Open, Open, Open];
  await Promise.all([control, ports, tunnel].map(({ socket }) => once(socket, "open")));
  tunnel.socket.send('{"host":"localhost","port":5001}');
  await until(() => tunnel.texts.length > 0);
  await sprite.delete();
  for (const { closed } of [control, ports, tunnel]) assert.equal(await closed, 1001);
});
