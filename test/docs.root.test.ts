/** The commands of every page of docs/capabilities/, executed as they are printed. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { SpritesClient } from "@fly/sprites";
import { markedBlocks, runScript } from "./support/doc-page.ts";
import { TestServer } from "./support/server.ts";

const directory = resolve(import.meta.dirname, "../docs/capabilities");
const pages = readdirSync(directory).filter((name) => name.endsWith(".md"));
const sprite = "demo";

// Two at a time, each in an organization of its own: they mostly wait for sprites to start.
describe("docs/capabilities", { concurrency: 2 }, () => {
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
      const organization = page.replace(".md", "");
      const token = await server.createToken(organization);
      const client = new SpritesClient(token, { baseURL: server.url });
      await client.createSprite(sprite);
      try {
        const script = blocks.join("\n");
        const options = { selection: { organization, sprite }, token };
        const { code, output } = await runScript(server, script, options);
        assert.equal(code, 0, `exit code ${code} of\n${script}\nwhich printed\n${output}`);
      } finally {
        await client.deleteSprite(sprite).catch(() => undefined);
      }
    });
  }
});
