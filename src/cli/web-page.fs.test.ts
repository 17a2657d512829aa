import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { SpriteBench, waitUntil } from "./testing/run-sprite.ts";

describe("a program inside asks for a browser", () => {
  let bench: SpriteBench;
  const tools = mkdtempSync(join(tmpdir(), "sprite-tools-"));
  const opened = join(tools, "opened");
  before(async () => {
    bench = await SpriteBench.start();
    bench.server.addSprite("box");
    writeFileSync(join(tools, "xdg-open"), `#!/bin/sh\nprintf '%s\\n' "$1" >> ${opened}\n`);
    chmodSync(join(tools, "xdg-open"), 0o755);
  });
  after(async () => {
    await bench.stop();
    rmSync(tools, { recursive: true, force: true });
  });
  afterEach(() => rmSync(opened, { force: true }));

  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    DISPLAY: ":0",
    PATH: `${tools}:${process.env["PATH"]}`,
    ...more,
  });
  const ask = (url: string): string => `printf '\\033]7770;open;${url}\\033\\\\'`;
  /** Not before it has been written whole. */
  const openedUrl = async (): Promise<string> =>
    await waitUntil(
      () => {
        const text = existsSync(opened) ? readFileSync(opened, "utf8") : "";
        return text.endsWith("\n") ? text : undefined;
      },
      () => "the browser",
    );

  test("the user is asked, and the answer is no key for the program", async () => {
    const script = `${ask("https://example.com/a")}; read -r line; echo "got[$line]"`;
    const args = ["exec", "-s", "box", "--tty", "--", "sh", "-c", script];
    const terminal = bench.terminal(args, { env: env() });
    await terminal.waitFor(/open https:\/\/example.com\/a in your browser\? \[y\/N\]/);
    assert.ok(!terminal.screen.includes("7770"));
    assert.ok(!existsSync(opened), "nothing opens before the answer");
    terminal.type("y");
    assert.equal(await openedUrl(), "https://example.com/a\n");
    terminal.type("hello\r");
    await terminal.waitFor(/got\[hello\]/);
    assert.equal(await terminal.exited, 0);
  });

  test("another key than y opens nothing", async () => {
    const script = `${ask("https://example.com/b")}; read -r line; echo "got[$line]"`;
    const args = ["exec", "-s", "box", "--tty", "--", "sh", "-c", script];
    const terminal = bench.terminal(args, { env: env() });
    await terminal.waitFor(/\[y\/N\]/);
    terminal.type("\r");
    await terminal.waitFor(/no\r\n/);
    terminal.type("x\r");
    await terminal.waitFor(/got\[x\]/);
    assert.equal(await terminal.exited, 0);
    assert.ok(!existsSync(opened));
  });

  test("SPRITE_BROWSER settles it, and without a browser nobody is asked", async () => {
    const args = [
      "exec",
      "-s",
      "box",
      "--tty",
      "--",
      "sh",
      "-c",
      `${ask("https://c.d/")}; echo done`,
    ];
    const open = bench.terminal(args, { env: env({ SPRITE_BROWSER: "open" }) });
    assert.equal(await open.exited, 0);
    assert.equal(await openedUrl(), "https://c.d/\n");
    rmSync(opened);
    for (const more of [{ SPRITE_BROWSER: "never" }, { SSH_CONNECTION: "1 2 3 4" }]) {
      const never = bench.terminal(args, { env: env(more) });
      assert.equal(await never.exited, 0);
      assert.match(never.screen, /done/);
      assert.ok(!never.screen.includes("[y/N]") && !existsSync(opened));
    }
  });
});
