/** A child's end of the control pipe when servers come and go. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { after, before, test } from "node:test";
import type { AgentCommand } from "../contract/agent-startup.ts";
import { openControlPipe, type ControlPipe } from "./control-pipe.ts";
import { readJsonLines } from "./json-lines.ts";
import { waitUntil } from "./wait.ts";

const withinMs = 30_000;
const longMs = 600_000;
let directory = "";
let pipes = 0;
before(async () => (directory = await mkdtemp(join(tmpdir(), "pipe-"))));
after(() => rm(directory, { recursive: true, force: true }));

interface Child {
  pipe: ControlPipe<object>;
  input: PassThrough;
  path: string;
  stopped: AgentCommand[];
}

async function startChild({ orphanMsMax }: { orphanMsMax: number }): Promise<Child> {
  const input = new PassThrough();
  const pipe = openControlPipe<object>(input);
  input.write(`${JSON.stringify({ descriptors: [{ key: "fuse", descriptor: 3 }] })}\n`);
  await pipe.startup;
  const path = join(directory, `${pipes++}.sock`);
  await pipe.outlive({ socketPath: path, orphanMsMax, version: "1", startup: () => ({}) });
  const stopped: AgentCommand[] = [];
  void pipe.stop.then((command) => stopped.push(command));
  return { pipe, input, path, stopped };
}

async function visit(path: string): Promise<{ socket: Socket; said: unknown[] }> {
  const socket = connect({ path });
  const said: unknown[] = [];
  readJsonLines(socket, {
    lineBytesMax: 10_000,
    onValue: (value) => said.push(value),
    onOther: () => undefined,
  });
  assert.ok(await waitUntil(() => said.length === 1, { timeoutMs: withinMs }));
  return { socket, said };
}

function send(socket: Socket, command: AgentCommand): void {
  socket.write(`${JSON.stringify(command)}\n`);
}

test("a child that has lost its server obeys the next one, and the one after that", async () => {
  const { pipe, input, path, stopped } = await startChild({ orphanMsMax: longMs });
  input.end();
  await once(input, "end");
  const first = await visit(path);
  assert.partialDeepStrictEqual(first.said[0], { type: "offer", pid: process.pid });
  send(first.socket, { type: "adopt" });
  pipe.say({ type: "keep", key: "input", descriptor: 9 });
  assert.ok(await waitUntil(() => first.said.length === 2, { timeoutMs: withinMs }));
  first.socket.destroy();
  const second = await visit(path);
  const descriptors = [
    { key: "fuse", descriptor: 3 },
    { key: "input", descriptor: 9 },
  ];
  assert.partialDeepStrictEqual(second.said[0], { descriptors });
  send(second.socket, { type: "adopt" });
  assert.deepEqual(stopped, []);
  send(second.socket, { type: "stop", discard: true });
  assert.deepEqual(await pipe.stop, { type: "stop", discard: true });
  second.socket.destroy();
});

test("the old server's end does not matter once the next one has come", async () => {
  const { pipe, input, path, stopped } = await startChild({ orphanMsMax: 1 });
  const next = await visit(path);
  send(next.socket, { type: "adopt" });
  // The old pipe is closed by whoever has adopted; its end is nobody's.
  assert.ok(await waitUntil(() => input.destroyed, { timeoutMs: withinMs }));
  pipe.say({ type: "release", key: "fuse" });
  assert.ok(await waitUntil(() => next.said.length === 2, { timeoutMs: withinMs }));
  assert.deepEqual(stopped, []);
  next.socket.destroy();
  assert.deepEqual(await pipe.stop, { type: "stop", discard: false }, "nobody came in time");
});

test("who only looks, or speaks nonsense, changes nothing", async () => {
  const { pipe, input, path, stopped } = await startChild({ orphanMsMax: longMs });
  const looking = await visit(path);
  looking.socket.destroy();
  const { socket } = await visit(path);
  const closed = once(socket, "close");
  socket.write('{"type":"explode"}\n[]\nnull\n"stop"\nno JSON\n');
  await closed;
  assert.deepEqual(stopped, []);
  const last = await visit(path);
  send(last.socket, { type: "stop", discard: false });
  await pipe.stop;
  last.socket.destroy();
  input.destroy();
});
