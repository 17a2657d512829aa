/** The README's quickstart, executed as it is printed. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { markedBlocks, runScript } from "./support/doc-page.ts";
import { TestServer } from "./support/server.ts";

const root = resolve(import.meta.dirname, "..");

test("the quickstart runs from its first line to its last", async () => {
  const text = await readFile(join(root, "README.md"), "utf8");
  const [block] = markedBlocks(text, "quickstart");
  assert.ok(block, "README.md has a block marked <!-- quickstart -->");
  const server = await TestServer.start();
  try {
    const { code, output } = await runScript(server, block);
    assert.equal(code, 0, output);
  } finally {
    await server.close();
  }
});
