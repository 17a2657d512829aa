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
