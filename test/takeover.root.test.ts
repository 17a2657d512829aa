/** Two servers on one bucket: what one holds is the other's once it is dead, and not before. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { serverIdentity } from "../src/storage/lease/server-identity.ts";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import { runCommand } from "../src/host/command.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

/** Others wait for 30 s before they believe a server dead, and its next start takes a moment. */
const takeoverMsMax = 45_000;

let bucket: string;
let first: TestServer;
let second: TestServer;
before(async () => {
  bucket = await mkdtemp(join(tmpdir(), "opensprites-shared-"));
  first = await TestServer.start({ arguments: ["--bucket", bucket] });
});
after(async () => {
  await first?.close();
  await second?.close();
  await rm(bucket, { recursive: true, force: true });
});

async function shell(server: TestServer, script: string): Promise<string> {
  const sprite = server.client().sprite("shared");
  return String((await sprite.execFile("sh", ["-c", script])).stdout).trim();
}

/** As a machine that loses its power: nothing is stored on the way. */
async function losePower(server: TestServer): Promise<void> {
  process.kill(server.pid, "SIGSTOP");
  await killAll(await childrenOf(server.places));
  await server.kill();
}

async function orphansOf(server: TestServer, spriteId: string): Promise<string[]> {
  const directory = spriteCacheDirectory(server.places, spriteId);
  const names = await readdir(directory);
  return names.filter((name) => name.startsWith("orphan-")).map((name) => join(directory, name));
}

test("a sprite of a machine that died starts on another with nothing but the bucket", async () => {
  const { id = "" } = await first.client().createSprite("shared");
  await shell(first, "echo stored > ~/stored; sync");
  const stored = await first.request("/v1/sprites/shared/checkpoint", { method: "POST" });
  assert.match(await stored.text(), /"type":"complete"/);
  await registryIsStored();
  await shell(first, "echo unstored > ~/unstored; sync");
  await losePower(first);

  const start = performance.now();
  second = await TestServer.start({ arguments: ["--bucket", bucket], token: first.token });
  assert.equal(await shell(second, "cat ~/stored"), "stored");
  const tookMs = performance.now() - start;
  process.stdout.write(`# until the sprite ran on the other server: ${Math.round(tookMs)} ms\n`);
  assert.ok(tookMs < takeoverMsMax, `${tookMs} ms`);
  await shell(second, "echo second > ~/second; sync");

  // The first machine is back. Its organization and its sprites are another's by now, and it says whose.
  const refusal = new RegExp(
    `belongs to the server ${await serverIdentity(second.dataDirectory)}, which is running`,
  );
  await assert.rejects(first.startProcess(), refusal);
  assert.equal(await shell(second, "cat ~/second"), "second");

  await second.stop();
  assert.deepEqual(await tracesOf(second.places), []);
  // Nor does it mix the two histories of the registry: the operator chooses (docs/howto/restore-the-registry.md).
  await assert.rejects(first.startProcess(), /has another history than the local database/);
  await rename(join(first.dataDirectory, "orgs"), join(first.dataDirectory, "orgs-before"));
  await first.startProcess();
  assert.equal(await shell(first, "cat ~/second"), "second");
  const orphans = await orphansOf(first, id);
  assert.equal(orphans.length, 1, "what only the first machine had is kept");
  const note = JSON.parse(await readFile(join(orphans[0] ?? "", "orphan.json"), "utf8")) as unknown;
  assert.partialDeepStrictEqual(note, {
    volume: `sprites/${id}`,
    reason: "the bucket was written by another since",
  });
  assert.equal(await readOrphan(orphans[0] ?? "", "unstored"), "unstored");
});

/** All that the registry knows by now is in the bucket: it is shipped in order, and a change of now follows it. */
async function registryIsStored(): Promise<void> {
  const sinceMs = Date.now();
  const body = JSON.stringify({ labels: ["stored"] });
  const changed = await first.request("/v1/sprites/shared", { method: "PUT", body });
  assert.equal(changed.status, 200, await changed.text());
  const directory = join(bucket, "orgs/acme.db/0000");
  const isLater = async (name: string): Promise<boolean> =>
    (await stat(join(directory, name))).mtimeMs > sinceMs;
  const isShipped = async (): Promise<boolean> =>
    (await Promise.all((await readdir(directory)).map(isLater))).includes(true);
  assert.ok(await waitUntil(isShipped, { timeoutMs: 30_000 }));
}

/** As docs/howto/inspect-an-orphan.md tells an operator. */
async function readOrphan(orphan: string, name: string): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), "opensprites-orphan-"));
  const image = join(scratch, "orphan.img");
  const mounted = join(scratch, "mounted");
  await mkdir(mounted);
  const run = (file: string, words: string[]): Promise<unknown> =>
    runCommand(file, words, { deadlineMs: 10_000 });
  try {
    await run("cp", ["--sparse=always", join(orphan, "blocks"), image]);
    await run("mount", ["-o", "loop", image, mounted]);
    return (await readFile(join(mounted, "upper/home/sprite", name), "utf8")).trim();
  } finally {
    await run("umount", [mounted]).catch(() => undefined);
    await rm(scratch, { recursive: true, force: true });
  }
}
