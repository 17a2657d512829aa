/** Whom a server adopts, and whom it does not, over real sockets. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { must } from "../base/assert.ts";
import { AdoptionSocket, type ServerLink } from "../base/adoption-socket.ts";
import { identifyProcess } from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import { OfferState } from "../contract/adoption.ts";
import { AdoptedChild } from "./adopted-child.ts";

const withinMs = 30_000;
const me = must(identifyProcess(process.pid), "this process is there");
const of = { pid: process.pid, version: "1.0.0", startup: {} };
let directory = "";
let others: Array<{ server: Server; sockets: Socket[] }> = [];
before(async () => (directory = await mkdtemp(join(tmpdir(), "adopted-"))));
after(() => rm(directory, { recursive: true, force: true }));
afterEach(() => {
  for (const { server, sockets } of others) {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
  others = [];
});

test("what a child says after its offer is heard in order, also before anybody listens", async () => {
  const links: ServerLink[] = [];
  const commands: unknown[] = [];
  const socket = new AdoptionSocket({
    offer: () => new OfferState([]).offer(of),
    onCommand: (command, from) => {
      commands.push(command);
      links.push(from);
    },
    onGone: () => undefined,
  });
  const path = join(directory, "child.sock");
  await socket.listen(path);
  const child = must(await AdoptedChild.meet(path, me), "it is adopted");
  socket.tellOthers(`${JSON.stringify({ type: "release", key: "a" })}\n`, null);
  child.send({ type: "adopt" });
  assert.ok(await waitUntil(() => commands.length === 1, { timeoutMs: withinMs }));
  socket.tellOthers(`${JSON.stringify({ type: "release", key: "b" })}\n`, null);
  const heard: unknown[] = [];
  child.listen((value) => heard.push((value as { key: string }).key));
  assert.ok(await waitUntil(() => heard.length === 2, { timeoutMs: withinMs }));
  assert.deepEqual([heard, commands], [["a", "b"], [{ type: "adopt" }]]);
  assert.equal(child.alive, true);
  child.disown();
  links[0]?.end();
  socket.close();
});

test("one that says nothing, nonsense, or that it is another process is not adopted", async () => {
  const path = join(directory, "other.sock");
  const offers = [
    "",
    "this is no JSON\n",
    "{}\n",
    `${JSON.stringify(new OfferState([]).offer({ ...of, pid: 1 }))}\n`,
  ];
  for (const offer of offers) {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      if (offer !== "") socket.write(offer);
    });
    others.push({ server, sockets });
    await rm(path, { force: true });
    await new Promise<void>((resolve) => server.listen({ path }, resolve));
    assert.equal(await AdoptedChild.meet(path, me, 500), null, offer);
  }
  assert.equal(await AdoptedChild.meet(join(directory, "none.sock"), me), null);
});
