/** What is destroyed is gone, and a server that ended leaves the machine as it was. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const spritesTotal = 50;
const parallel = 4;

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server?.close());

test("50 sprites created, used and destroyed leave nothing", async () => {
  const childrenBefore = (await childrenOf(server.places)).length;
  const client = server.client();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < spritesTotal) {
      const name = `leak-${next}`;
      next += 1;
      const sprite = await client.createSprite(name);
      const { stdout } = await sprite.execFile("sh", ["-c", "echo $HOME > ~/x; sync; cat ~/x"]);
      assert.equal(stdout, "/home/sprite\n");
      await sprite.destroy();
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));

  const settled = await waitUntil(
    async () => (await childrenOf(server.places)).length === childrenBefore,
    { timeoutMs: 10_000 },
  );
  assert.ok(settled, "no agent is left");
  for (const place of ["bucket/sprites", "cache/sprites"]) {
    const directory = join(server.dataDirectory, place);
    assert.deepEqual(await readdir(directory).catch(() => []), [], `${place} is empty`);
  }
  const spriteRuns = await readdir(join(server.places.runDirectory, "sprites")).catch(() => []);
  assert.deepEqual(spriteRuns, []);
});

test("SIGINT ends a server with running sprites within 10 s and leaves nothing", async () => {
  const client = server.client();
  await Promise.all(["one", "two", "three"].map((name) => client.createSprite(name)));
  const tookMs = await server.stop();
  assert.ok(tookMs < 10_000, `${tookMs} ms`);
  assert.deepEqual(await tracesOf(server.places), []);
});

test("the successor of a server that was killed with its sprites clears what was left and serves the same sprites", async () => {
  await server.startProcess();
  const sprite = server.client().sprite("one");
  await sprite.execFile("sh", ["-c", "echo still here > ~/note; sync"]);
  await server.killAll();
  await server.startProcess();
  const { stdout } = await server.client().sprite("one").execFile("cat", ["/home/sprite/note"]);
  assert.equal(stdout, "still here\n");
  await server.stop();
  assert.deepEqual(await tracesOf(server.places), []);
});
