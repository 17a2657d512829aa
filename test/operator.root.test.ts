/** The unlucky operator: two servers, and signals at the wrong moment. Issue 2, section 2. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { placesOf } from "../src/worker/places.ts";
import { tracesOf } from "./support/machine.ts";
import { TestServer } from "./support/server.ts";

const spritesd = resolve(import.meta.dirname, "../bin/spritesd");

let scratch: string;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "opensprites-operator-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

test("a second server on the same data is refused, by whatever name it knows it", async () => {
  const dataDirectory = join(scratch, "data");
  const link = join(scratch, "link");
  await symlink(dataDirectory, link);
  const server = await TestServer.start({ dataDirectory });
  try {
    for (const name of [dataDirectory, link]) {
      const second = startServe(name);
      const [code] = (await once(second.child, "exit")) as [number];
      assert.equal(code, 1);
      assert.match(second.output(), new RegExp(`another server .process ${server.pid}. uses this`));
    }
    assert.equal((await server.request("/v1/sprites")).status, 200);
  } finally {
    await server.close();
  }
});

test("SIGTERM during the start ends it in order, whichever step it meets", async () => {
  const dataDirectory = join(scratch, "early");
  const places = placesOf(dataDirectory);
  const steps: ReadonlyArray<(output: string) => Promise<boolean>> = [
    async () => (await readdir(places.runDirectory).catch(() => null)) !== null,
    async () => (await readdir(join(places.runDirectory, "processes")).catch(() => [])).length > 0,
  ];
  for (const isReached of steps) {
    const { child, output } = startServe(dataDirectory);
    const exited = once(child, "exit");
    assert.ok(await waitUntil(() => isReached(output()), { timeoutMs: 60_000, intervalMs: 1 }));
    child.kill("SIGTERM");
    assert.deepEqual(await exited, [0, null], output());
    assert.doesNotMatch(output(), /^ready /m);
    assert.deepEqual(await tracesOf(places), []);
    assert.equal(await readdir(places.runDirectory).catch(() => null), null);
  }
});

function startServe(dataDirectory: string) {
  const args = ["serve", "--data", dataDirectory, "--listen", "127.0.0.1:0", "--listen-tls", "off"];
  const child = spawn(spritesd, [...args, "--image", "minimal", "--uplink", "none"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  return { child, output: () => output };
}
