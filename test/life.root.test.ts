/** The first day of a sprite, through the official SDK: create, use, wreck, restore, destroy. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { ExecError, type Sprite } from "@fly/sprites";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { checkpointId, drainStream } from "./support/streams.ts";

let server: TestServer;
let sprite: Sprite;

before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("first");
});
after(() => server?.close());

test("a new sprite runs commands as the user sprite in its home", async () => {
  const { stdout } = await sprite.execFile("sh", ["-c", "id -un; pwd; echo $HOME; hostname"]);
  assert.equal(stdout, "sprite\n/home/sprite\n/home/sprite\nfirst\n");
});

test("output, error output and exit code arrive as they are", async () => {
  const failing = sprite.execFile("sh", ["-c", "echo out; echo err >&2; exit 7"]);
  await assert.rejects(failing, (error) => {
    assert.ok(error instanceof ExecError);
    assert.equal(error.exitCode, 7);
    assert.equal(error.stdout, "out\n");
    assert.equal(error.stderr, "err\n");
    return true;
  });
});

test("root is one sudo away and is root on the whole file system", async () => {
  const script = "sudo id -u; sudo touch /usr/bin/made-by-root && stat -c %u /usr/bin/made-by-root";
  const { stdout } = await sprite.execFile("sh", ["-c", script]);
  assert.equal(stdout, "0\n0\n");
});

test("the disk has 100 GB", async () => {
  const { stdout } = await sprite.execFile("sh", ["-c", "df --output=size -B1G / | tail -1"]);
  assert.ok(Number(stdout) >= 95 && Number(stdout) <= 105, String(stdout));
});

test("an agent takes little memory of its own", async () => {
  for (const { pid } of await childrenOf(server.places, "sprite")) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    const ownKiB = Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]);
    // Some 50 MB; each library too many in it, or code that is not compiled ahead, adds 10 to 50.
    assert.ok(ownKiB > 0 && ownKiB < 75 * 1024, `${ownKiB} KiB`);
  }
});

test("a checkpoint brings back a box whose /usr and /etc are gone", async () => {
  await sprite.execFile("sh", ["-c", "echo precious > ~/file; sync"]);
  const id = checkpointId(await drainStream(await sprite.createCheckpoint("before the accident")));
  assert.match(id, /^v\d+$/);

  await sprite.execFile("sh", ["-c", "echo spoiled > ~/file; sudo rm -rf /usr /etc 2>&1 || true"]);
  await assert.rejects(sprite.execFile("python3", ["-c", "print(1)"]));

  await drainStream(await sprite.restoreCheckpoint(id));
  const { stdout } = await sprite.execFile("sh", ["-c", "cat ~/file; python3 -c 'print(6*7)'"]);
  assert.equal(stdout, "precious\n42\n");
});

test("the state before a restore is kept as an automatic checkpoint", async () => {
  const response = await server.request("/v1/sprites/first/checkpoints?includeAuto=true");
  const list = (await response.json()) as Array<{ id: string; is_auto: boolean }>;
  assert.ok(list.some(({ id, is_auto: isAuto }) => isAuto && id.startsWith("auto-")));
  const plain = (await (await server.request("/v1/sprites/first/checkpoints")).json()) as unknown[];
  assert.equal(plain.length, list.length - 1);
});

test("destroy ends it at once", async () => {
  await sprite.destroy();
  assert.equal((await server.request("/v1/sprites/first")).status, 404);
});
