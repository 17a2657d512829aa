/** The README's quickstart, executed as it is printed. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { TestServer } from "./support/server.ts";

const root = resolve(import.meta.dirname, "..");
const quickstart = /<!-- quickstart -->\s*```sh\n([\s\S]*?)```/;

test("the quickstart runs from its first line to its last", async () => {
  const block = quickstart.exec(await readFile(join(root, "README.md"), "utf8"))?.[1];
  assert.ok(block, "README.md has a block marked <!-- quickstart -->");
  const server = await TestServer.start();
  const directory = await mkdtemp(join(tmpdir(), "opensprites-readme-"));
  try {
    const child = spawn("bash", ["-euo", "pipefail", "-c", block], {
      cwd: directory,
      env: {
        ...process.env,
        PATH: `${join(root, "bin")}:${process.env["PATH"]}`,
        HOME: directory,
        SPRITES_API_URL: server.url,
        SPRITE_TOKEN: server.token,
        NODE_PATH: join(root, "node_modules"),
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes: Buffer) => (output += bytes.toString()));
    }
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(code, 0, output);
  } finally {
    await rm(directory, { recursive: true, force: true });
    await server.close();
  }
});
