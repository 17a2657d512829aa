/** A sprite in one file: out of one server, into another that has nothing of it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { TestServer } from "./support/server.ts";

const run = promisify(execFile);
const bin = resolve(import.meta.dirname, "../bin/sprite");

let directory: string;
let server: TestServer;
let other: TestServer;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "opensprites-transfer-"));
  server = await TestServer.start();
  other = await TestServer.start();
});
after(async () => {
  await server?.close();
  await other?.close();
  await rm(directory, { recursive: true, force: true });
});

async function cli(on: TestServer, ...args: string[]): Promise<string> {
  const env = {
    PATH: process.env["PATH"],
    HOME: directory,
    SPRITES_API_URL: on.url,
    SPRITE_TOKEN: on.token,
  };
  const { stdout } = await run(bin, args, { env, timeout: 60_000, cwd: directory });
  return stdout;
}

test("a sprite goes through a file with its disk, checkpoints, labels and environment", async () => {
  const created = await server.request("/v1/sprites", {
    method: "POST",
    body: JSON.stringify({ name: "mover", labels: ["ci"], environment: { KEY: "value" } }),
  });
  assert.equal(created.status, 201);
  const source = server.client().sprite("mover");
  await source.execFile("sh", ["-c", "head -c 9000000 /dev/urandom > ~/big; echo one > ~/state"]);
  await cli(server, "checkpoint", "create", "-s", "mover", "--comment", "kept");
  await source.execFile("sh", ["-c", "echo two > ~/state; sha256sum ~/big > ~/sums"]);
  // Not synced, and still running: the export sees to it.
  assert.match(
    await cli(server, "export", "mover"),
    /^Exported mover to mover\.sprite: [\d.]+ MiB\n$/,
  );

  assert.equal(await cli(other, "import", "mover.sprite"), "Imported mover\n");
  const copy = other.client().sprite("mover");
  await copy.execFile("sha256sum", ["-c", "--quiet", "/home/sprite/sums"]);
  assert.equal((await copy.execFile("cat", ["/home/sprite/state"])).stdout, "two\n");
  assert.equal((await copy.execFile("sh", ["-c", "echo $KEY"])).stdout, "value\n");
  const record = JSON.parse(await cli(other, "info", "mover", "--json")) as { labels: string[] };
  assert.deepEqual(record.labels, ["ci"]);
  await cli(other, "restore", "v0", "-s", "mover");
  assert.equal((await copy.execFile("cat", ["/home/sprite/state"])).stdout, "one\n");
  await assert.rejects(cli(other, "import", "mover.sprite"), /exists already/);
  assert.equal(await cli(other, "import", "mover.sprite", "second"), "Imported second\n");
});

test("a damaged file makes no sprite and leaves nothing", async () => {
  const sprites = join(other.dataDirectory, "bucket/sprites");
  const before = await readdir(sprites);
  const archive = await readFile(join(directory, "mover.sprite"));
  archive[archive.length >> 1] = (archive[archive.length >> 1] ?? 0) ^ 1;
  await writeFile(join(directory, "bad.sprite"), archive);
  await assert.rejects(cli(other, "import", "bad.sprite", "third"), /archive is damaged/);
  await writeFile(join(directory, "short.sprite"), archive.subarray(0, 5_000_000));
  await assert.rejects(cli(other, "import", "short.sprite", "third"), /archive is damaged/);
  await assert.rejects(cli(other, "info", "third"), /no sprite/);
  assert.deepEqual(await readdir(sprites), before);
  await assert.rejects(cli(server, "export", "nobody"), /no sprite "nobody"/);
  assert.ok(!(await readdir(directory)).includes("nobody.sprite.part"));
});
