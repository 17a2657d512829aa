import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { SpriteError } from "../../contract/errors.ts";
import { connectAgent } from "./agent-connection.ts";

const directory = mkdtempSync(join(tmpdir(), "agent-connection-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const never = new AbortController().signal;

async function listen(name: string, backlog: number): Promise<{ path: string; server: Server }> {
  const path = join(directory, name);
  const server = createServer((socket) => socket.on("error", () => socket.destroy()));
  await new Promise<void>((resolve) => server.listen({ path, backlog }, resolve));
  return { path, server };
}

test("a full backlog is waited for", async () => {
  const { path, server } = await listen("full.sock", 1);
  const refusals: string[] = [];
  const probes = Array.from({ length: 10 }, () => {
    const socket = connect(path);
    return new Promise<Socket>((resolve) => {
      socket.once("connect", () => resolve(socket));
      socket.once("error", (error: NodeJS.ErrnoException) => {
        refusals.push(error.code ?? "");
        resolve(socket);
      });
    });
  });
  const start = async () => ({ socketPath: path });
  const sockets = await Promise.all(Array.from({ length: 60 }, () => connectAgent(start, never)));
  // Else this test would show nothing.
  assert.ok((await Promise.all(probes)).length > 0 && refusals.includes("EAGAIN"));
  assert.equal(sockets.filter((socket) => !socket.destroyed).length, 60);
  for (const socket of [...sockets, ...(await Promise.all(probes))]) socket.destroy();
  server.close();
});

test("an agent that has just gone is started again", async () => {
  const { path, server } = await listen("again.sock", 10);
  let startCount = 0;
  const socket = await connectAgent(async () => {
    startCount += 1;
    return { socketPath: startCount === 1 ? join(directory, "gone.sock") : path };
  }, never);
  assert.equal(startCount, 2);
  socket.destroy();
  server.close();
});

test("an agent that stays away is unavailable, and a start's own error comes through", async () => {
  let startCount = 0;
  const gone = async () => {
    startCount += 1;
    return { socketPath: join(directory, "gone.sock") };
  };
  await assert.rejects(
    connectAgent(gone, never),
    (error) => error instanceof SpriteError && error.code === "unavailable",
  );
  assert.equal(startCount, 3);
  const failing = async () => {
    throw new SpriteError("start_failed", "no");
  };
  await assert.rejects(connectAgent(failing, never), /no/);
});

test("an abort ends the wait, whatever the start does", async () => {
  const controller = new AbortController();
  const connecting = connectAgent(() => new Promise(() => {}), controller.signal);
  controller.abort(new SpriteError("not_found", "the sprite was deleted"));
  await assert.rejects(connecting, /deleted/);
});
