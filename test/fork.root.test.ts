/** Sprites made of other sprites: whole whatever the source does, and nobody's end hurts another. */
import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { checkFileSystem } from "./support/fsck.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server?.close());

async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await server.cli(args);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function inside(name: string, script: string): Promise<string> {
  const { stdout } = await server.client().sprite(name).execFile("sh", ["-c", script]);
  return String(stdout).trim();
}

async function idOf(name: string): Promise<string> {
  return (JSON.parse(await cli("info", name, "--json")) as { id: string }).id;
}

/** Of all sprites' objects, those whose keys match. */
async function keysLike(pattern: RegExp): Promise<string[]> {
  const options = { recursive: true, withFileTypes: true } as const;
  const entries = await readdir(join(server.dataDirectory, "bucket/sprites"), options);
  const keys = entries.filter((entry) => entry.isFile()).map((e) => join(e.parentPath, e.name));
  return keys.filter((key) => pattern.test(key)).toSorted();
}

/** Nothing of a sprite is on this machine any more but its bucket. */
async function restartWithoutCaches(): Promise<void> {
  await server.stop();
  await rm(join(server.dataDirectory, "cache"), { recursive: true, force: true });
  await server.startProcess();
}

const checkSums = "cd ~ && sha256sum -c --quiet sums && cat state";

test("a running source is forked as it is now, while it is written to", async () => {
  await cli("create", "box", "--label", "ci");
  await inside("box", "sudo sh -c 'echo source > /etc/machine-id; mkdir -p /etc/ssh'");
  await inside("box", "head -c 9000000 /dev/urandom > ~/big; echo one > ~/state");
  await inside(
    "box",
    "cd; sha256sum big > sums; mkdir -p ~/.config; echo keep > ~/.config/service",
  );
  await cli("checkpoint", "create", "-s", "box");
  await inside("box", "echo two > ~/state");
  const writing = server
    .client()
    .sprite("box")
    .spawn("sh", ["-c", "i=0; while :; do i=$((i+1)); echo $i > ~/counter.$((i % 50)); done"]);
  writing.on("error", () => undefined);
  const isWriting = async (): Promise<boolean> => (await inside("box", "ls ~")).includes("counter");
  assert.ok(await waitUntil(isWriting, { timeoutMs: 10_000, intervalMs: 50 }));
  assert.equal(await cli("create", "copy", "--from", "box"), "Created copy\n");
  assert.equal(await cli("create", "old", "--from", "box@v0"), "Created old\n");
  assert.equal(await inside("copy", checkSums), "two");
  assert.equal(await inside("old", checkSums), "one");
  assert.equal(await inside("copy", "cat ~/.config/service"), "keep");
  writing.kill("SIGKILL");
});

test("a fork is somebody of its own", async () => {
  const record = JSON.parse(await cli("info", "copy", "--json")) as { labels: string[] };
  assert.deepEqual(record.labels, []);
  assert.equal(await cli("checkpoint", "list", "-s", "copy"), "");
  assert.equal(await inside("copy", "hostname; cat /etc/hostname"), "copy\ncopy");
  assert.equal(await inside("copy", "grep -c 127.0.1.1 /etc/hosts"), "1");
  const [copy, old] = await Promise.all([
    inside("copy", "cat /etc/machine-id"),
    inside("old", "cat /etc/machine-id"),
  ]);
  assert.match(copy, /^[0-9a-f]{32}$/);
  assert.match(old, /^[0-9a-f]{32}$/);
  assert.notEqual(copy, old);
  assert.equal(await inside("box", "cat /etc/machine-id; hostname"), "source\nbox");
});

test("a plain sprite is somebody of its own too", async () => {
  const client = server.client();
  await Promise.all([client.createSprite("plain"), client.createSprite("other")]);
  const identity = "hostname; cat /etc/machine-id";
  const [plain, other] = await Promise.all([inside("plain", identity), inside("other", identity)]);
  assert.match(plain, /^plain\n[0-9a-f]{32}$/);
  assert.match(other, /^other\n[0-9a-f]{32}$/);
  assert.notEqual(plain.slice(-32), other.slice(-32));
  await client.deleteSprite("other");
});

test("a source that is restored, restarted and loses its checkpoint meanwhile is forked whole", async () => {
  await inside(
    "plain",
    "cd; head -c 900000 /dev/urandom > big; sha256sum big > sums; echo a > state",
  );
  await cli("checkpoint", "create", "-s", "plain");
  await inside(
    "plain",
    "cd; head -c 900000 /dev/urandom > big; sha256sum big > sums; echo b > state",
  );
  await inside("plain", "sprite-env tasks create held");
  const fork = async (name: string, checkpoint: object): Promise<number> => {
    const body = JSON.stringify({ name, from: { sprite: "plain", ...checkpoint } });
    return (await server.request("/v1/sprites", { method: "POST", body })).status;
  };
  const [, restored] = await Promise.all([
    cli("restore", "v0", "-s", "plain"),
    fork("while-restored", {}),
    fork("of-old", { checkpoint: "v0" }),
  ]);
  const [, restarted] = await Promise.all([
    server.client().sprite("plain").restart(),
    fork("while-restarted", {}),
  ]);
  const [, deleted] = await Promise.all([
    server.request("/v1/sprites/plain/checkpoints/v0", { method: "DELETE" }),
    fork("of-deleted", { checkpoint: "v0" }),
  ]);
  assert.deepEqual([restored, restarted], [201, 201]);
  // Whichever was first; but never half of it.
  assert.ok(deleted === 201 || deleted === 404, String(deleted));
  assert.match(await inside("while-restored", checkSums), /^[ab]$/);
  assert.equal(await inside("of-old", checkSums), "a");
  assert.equal(await inside("while-restarted", checkSums), "a");
  if (deleted === 201) assert.equal(await inside("of-deleted", checkSums), "a");
  assert.match(await inside("while-restarted", "sprite-env tasks list"), /\{"tasks":\[\]\}/);
  const made = ["plain", "while-restored", "of-old", "while-restarted"];
  if (deleted === 201) made.push("of-deleted");
  await Promise.all(made.map((name) => server.client().deleteSprite(name)));
});

test("what neither side writes reaches the other, also of a fork of a fork", async () => {
  await inside(
    "copy",
    "echo copy > ~/state; head -c 3000000 /dev/urandom > ~/own; cd; sha256sum big own > sums",
  );
  await cli("create", "grand", "--from", "copy");
  await inside("box", "echo three > ~/state; rm ~/big; sync -f ~");
  assert.equal(await inside("grand", checkSums), "copy");
  await inside("grand", "echo grand > ~/state; sync -f ~");
  assert.equal(await inside("copy", checkSums), "copy");
  assert.equal(await inside("old", checkSums), "one");
  assert.equal(await inside("box", "cat ~/state; ls ~ | grep -c big || true"), "three\n0");
});

test("a fork that cannot be made leaves nothing", async () => {
  const traces = /head\.json$|tombstone\.json$|origin\.json$|forks/;
  const before = await keysLike(traces);
  const missing = await server.cli(["create", "none", "--from", "copy@v9"]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /no checkpoint v9/);
  const nobody = await server.cli(["create", "none", "--from", "coby"]);
  assert.match(nobody.stderr, /no sprite "coby"[^]*copy/);
  const taken = await server.cli(["create", "old", "--from", "copy"]);
  assert.match(taken.stderr, /exists already/);
  assert.match((await server.cli(["info", "none"])).stderr, /no sprite "none"/);
  assert.deepEqual(await keysLike(traces), before);
});

test("a sleeping source whose server was killed is forked with what only its machine had", async () => {
  await inside("old", "echo last > ~/state; sync -f ~");
  const children = await childrenOf(server.places);
  await Promise.all([server.kill(), killAll(children)]);
  await server.startProcess();
  await cli("create", "late", "--from", "old");
  assert.equal(await inside("late", checkSums), "last");
  assert.equal(await inside("grand", checkSums), "grand");
});

test("source and forks are destroyed in any order, and the others have every byte", async () => {
  await cli("destroy", "box", "--force");
  assert.match((await server.cli(["create", "none", "--from", "box"])).stderr, /no sprite "box"/);
  await restartWithoutCaches();
  assert.equal(await inside("copy", checkSums), "copy");
  assert.equal(await inside("late", checkSums), "last");
  await cli("destroy", "copy", "--force");
  await cli("destroy", "late", "--force");
  await restartWithoutCaches();
  assert.equal(await inside("grand", checkSums), "grand");
  assert.equal(await inside("old", checkSums), "last");
  const [grand, old] = [await idOf("grand"), await idOf("old")];
  await server.stop();
  for (const spriteId of [grand, old]) {
    await checkFileSystem({ dataDirectory: server.dataDirectory, spriteId });
  }
  await server.startProcess();
  await cli("destroy", "old", "--force");
  await cli("destroy", "grand", "--force");
  const isEmpty = async (): Promise<boolean> => (await keysLike(/./)).length === 0;
  assert.ok(await waitUntil(isEmpty, { timeoutMs: 10_000, intervalMs: 100 }), "nothing is left");
});
