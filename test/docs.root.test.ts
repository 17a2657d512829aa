/** The commands of every page of docs/capabilities/, executed as they are printed. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { markedBlocks, runScript } from "./support/doc-page.ts";
import { TestServer } from "./support/server.ts";

const directory = resolve(import.meta.dirname, "../docs/capabilities");
const pages = readdirSync(directory).filter((name) => name.endsWith(".md"));
const spriteName = "demo";

describe("docs/capabilities", () => {
  let server: TestServer;
  before(async () => (server = await TestServer.start()));
  after(async () => await server.close());

  for (const page of pages) {
    test(page, async () => {
      const blocks = markedBlocks(readFileSync(join(directory, page), "utf8"), "run");
      assert.notEqual(
        blocks.length,
        0,
        "a page shows commands that run: <!-- run --> before ```sh",
      );
      const client = server.client();
      await client.createSprite(spriteName);
      try {
        const script = blocks.join("\n");
        const { code, output } = await runScript(server, script, { sprite: spriteName });
        assert.equal(code, 0, `exit code ${code} of\n${script}\nwhich printed\n${output}`);
      } finally {
        await client.deleteSprite(spriteName).catch(() => undefined);
      }
    });
  }
});
