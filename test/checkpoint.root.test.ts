/** Checkpoints under load, their views inside, and restores that cannot be done. Contract.md section 5. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { TestServer } from "./support/server.ts";
import { checkpointId, drainStream } from "./support/streams.ts";

const databaseLoad = `
import sqlite3, os
db = sqlite3.connect("/home/sprite/load.db")
db.execute("pragma journal_mode=wal")
db.execute("create table if not exists entry(n integer primary key, text text)")
n = 0
while not os.path.exists("/home/sprite/stop"):
    with db:
        for _ in range(20):
            db.execute("insert into entry values (?, ?)", (n, "x" * (n % 500)))
            n += 1
`;
const databaseCheck = `
import sqlite3
db = sqlite3.connect("/home/sprite/load.db")
print(db.execute("pragma integrity_check").fetchone()[0])
count, highest = db.execute("select count(*), max(n) from entry").fetchone()
print(count == highest + 1 and count > 0)
`;

let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("saved");
});
after(() => server?.close());

test("a checkpoint under write load keeps a database intact", async () => {
  const load = sprite.spawn("python3", ["-c", databaseLoad]);
  load.on("error", () => undefined);
  const ended = load.wait().catch(() => -1);
  const ids: string[] = [];
  for (let n = 0; n < 3; n += 1) {
    await sprite.execFile("sleep", ["0.4"]);
    ids.push(checkpointId(await drainStream(await sprite.createCheckpoint(`under load ${n}`))));
  }
  await sprite.execFile("touch", ["/home/sprite/stop"]);
  await ended;
  for (const id of ids) {
    await drainStream(await sprite.restoreCheckpoint(id));
    const { stdout } = await sprite.execFile("python3", ["-c", databaseCheck]);
    assert.equal(stdout, "ok\nTrue\n", id);
  }
});

test("the last five checkpoints can be read inside, and not written", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 6; n += 1) {
    await sprite.execFile("sh", ["-c", `echo ${n} > ~/generation; sync`]);
    ids.push(checkpointId(await drainStream(await sprite.createCheckpoint())));
  }
  const newest = ids.at(-1) ?? "";
  const path = (id: string): string => `/.sprite/checkpoints/${id}/home/sprite/generation`;
  const shown = await waitUntil(
    async () =>
      (await sprite.execFile("sh", ["-c", `cat ${path(newest)} || true`])).stdout === "5\n",
    { timeoutMs: 10_000, intervalMs: 200 },
  );
  assert.ok(shown, "the newest checkpoint is visible");
  const { stdout } = await sprite.execFile("ls", ["/.sprite/checkpoints"]);
  assert.deepEqual(String(stdout).trim().split("\n").toSorted(), ids.slice(1).toSorted());
  const write = sprite.execFile("sh", ["-c", `echo changed > ${path(newest)}`]);
  await assert.rejects(write);
});

test("history, source and the rules of deletion", async () => {
  const [newest, parent] = await sprite.listCheckpoints();
  assert.ok(newest && parent);
  const response = await server.request(`/v1/sprites/saved/checkpoints/${newest.id}`);
  const record = (await response.json()) as { source_id: string; history: string[] };
  assert.equal(record.source_id, parent.id);
  assert.equal(record.history[0], parent.id);

  const remove = (id: string): Promise<Response> =>
    server.request(`/v1/sprites/saved/checkpoints/${id}`, { method: "DELETE" });
  assert.equal((await remove(newest.id)).status, 409, "the live state descends from it");
  assert.equal((await remove(parent.id)).status, 204);
  assert.equal((await remove(parent.id)).status, 404);
});

test("what cannot be restored says so before anything stops", async () => {
  const unknown = await server.request("/v1/sprites/saved/checkpoints/v999/restore", {
    method: "POST",
  });
  assert.equal(unknown.status, 404);
  const { stdout } = await sprite.execFile("echo", ["alive"]);
  assert.equal(stdout, "alive\n");
});

test("a checkpoint can be made and listed from inside", async () => {
  const { stdout } = await sprite.execFile("sprite-env", [
    "checkpoints",
    "create",
    "--comment",
    "in",
  ]);
  assert.match(String(stdout), /"type":"complete"/);
  const list = await sprite.execFile("sprite-env", ["checkpoints", "list"]);
  assert.match(String(list.stdout), /"comment":"in"/);
});
