/** Files of a sprite through its API: by the official client, and by everybody who means no good. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { TestServer } from "./support/server.ts";

let server: TestServer;
let sprite: Sprite;

before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("files");
});
after(async () => await server?.close());

test("the official client reads what it wrote, and a command sees the same", async () => {
  const files = sprite.filesystem("/home/sprite");
  await files.writeFile("note.txt", "hello\n");
  assert.equal(await files.readFile("note.txt", "utf8"), "hello\n");
  const { stdout } = await sprite.execFile("sh", ["-c", "cat note.txt; stat -c %U:%a note.txt"]);
  assert.equal(String(stdout), "hello\nsprite:644\n");
});

test("a watch tells what happens below a directory, and what becomes of directories made later", async () => {
  const files = sprite.filesystem("/home/sprite/watched");
  await files.mkdir(".", { recursive: true });
  const watcher = await files.watch(".", { recursive: true });
  assert.deepEqual(await watcher.next(), { type: "subscribed", paths: ["/home/sprite/watched"] });
  const seen: string[] = [];
  const until = async (line: string): Promise<void> => {
    while (!seen.includes(line)) {
      const event = (await watcher.next()) as Record<string, unknown> | null;
      assert.ok(event, `ended before ${line}: ${seen.join(", ")}`);
      seen.push(`${String(event["event"] ?? event["message"])} ${String(event["path"])}`);
    }
  };
  const at = (name: string): string => `/home/sprite/watched/${name}`;
  await sprite.execFile("sh", ["-c", `cd ${at("")} && echo 1 > a && chmod 600 a && mv a b`]);
  await until(`create ${at("b")}`);
  for (const line of ["create", "write", "chmod", "rename"]) {
    assert.ok(seen.includes(`${line} ${at("a")}`), `${line}: ${seen.join(", ")}`);
  }
  await sprite.execFile("sh", ["-c", `mkdir -p ${at("deep/er")} && echo 1 > ${at("deep/er/c")}`]);
  await until(`create ${at("deep/er/c")}`);
  await files.writeFile("b", "replaced");
  await until(`write ${at("b")}`);
  assert.equal(seen.join().includes("opensprites"), false, "no passing names");
  await sprite.execFile("rm", [at("deep/er/c")]);
  await until(`remove ${at("deep/er/c")}`);
  watcher.close();
});
