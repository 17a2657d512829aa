import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLog } from "../../base/log.ts";
import { waitUntil } from "../../base/wait.ts";
import { createRouterServer } from "./server.ts";

test("a client that leaves while the sprite wakes up holds it no longer, and nothing is begun for it", async (context) => {
  const directory = await mkdtemp(join(tmpdir(), "router-"));
  const socketPath = join(directory, "s");
  const woken = Promise.withResolvers<void>();
  let [entered, left, handled] = [0, 0, 0];
  const server = createRouterServer({
    routes: [{ method: "GET", pattern: ["slow"], handle: async () => void (handled += 1) }],
    prefix: "public",
    gate: {
      enter: async () => {
        entered += 1;
        await woken.promise;
        return () => (left += 1);
      },
      holdDisk: () => () => undefined,
      onOpen: () => undefined,
      onMessage: () => undefined,
    },
    version: "1",
    log: createLog({ level: "silent", room: "test" }),
  });
  await server.listen(socketPath);
  context.after(async () => {
    await server.close({ graceMs: 0 });
    await rm(directory, { recursive: true });
  });
  const client = request({ socketPath, path: "/v1/sprites/s/slow" });
  client.on("error", () => undefined).end();
  const bounds = { timeoutMs: 20_000, intervalMs: 5 };
  assert.ok(await waitUntil(() => entered === 1, bounds));
  client.destroy();
  // What has been said on a connection of ours before, the server has heard when it answers the next.
  const ask = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    request({ socketPath, path: "/nothing" }, (response) => {
      response.resume().once("end", resolve);
    }).end();
    await promise;
  };
  await ask();
  await ask();
  woken.resolve();
  assert.ok(await waitUntil(() => left === 1, bounds), "it still holds");
  assert.equal(handled, 0);
});
