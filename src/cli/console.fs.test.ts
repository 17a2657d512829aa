import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { SpriteBench, type TestTerminal } from "./testing/run-sprite.ts";

describe("sprite at a terminal", () => {
  let bench: SpriteBench;
  const terminals: TestTerminal[] = [];
  before(async () => {
    bench = await SpriteBench.start();
  });
  after(async () => {
    await bench.stop();
  });
  afterEach(() => {
    for (const terminal of terminals.splice(0)) terminal.end();
  });
  beforeEach(() => {
    delete bench.server.faults.delayMs;
    bench.server.addSprite("box");
  });
  function open(...args: string[]): TestTerminal {
    const terminal = bench.terminal(args, { env: { COLORTERM: "truecolor" } });
    terminals.push(terminal);
    return terminal;
  }

  test("console is a login shell of our size, follows it, and returns its exit code", async () => {
    const terminal = open("console", "-s", "box");
    terminal.type("stty size; shopt -q login_shell && echo is-$TERM-$COLORTERM\r");
    await terminal.waitFor(/30 100\r/);
    await terminal.waitFor(/is-xterm-256color-truecolor\r/);
    terminal.resize(72, 20);
    terminal.type("sleep 0.2; stty size\r");
    await terminal.waitFor(/20 72\r/);
    terminal.type("exit 9\r");
    assert.equal(await terminal.exited, 9);
  });

  test("Ctrl+C goes to the remote program", async () => {
    const terminal = open("console", "-s", "box");
    const script = "trap 'echo caught-42; exit' INT; echo ready; while :; do sleep 0.05; done";
    terminal.type(`sh -c "${script}"\r`);
    await terminal.waitFor(/\[\?2004l\rready\r\n/);
    terminal.type("\u0003");
    await terminal.waitFor(/\^Ccaught-42/);
    terminal.type("exit\r");
    await terminal.exited;
  });

  test("Ctrl+\\ detaches, says how to come back, and the shell is still there", async () => {
    const terminal = open("console", "-s", "box");
    terminal.type("X=kept; echo rea''dy\r");
    await terminal.waitFor(/ready\r/);
    terminal.type("\u001c");
    const [, words = ""] = await terminal.waitFor(/To come back: {2}(sprite attach -s box \d+)/);
    assert.equal(await terminal.exited, 0);

    const again = open(...words.split(" ").slice(1));
    // The replay is not mangled by a terminal that still adds carriage returns.
    await again.waitFor(/ready\r\n/);
    again.type("echo $X-$((1+1))\r");
    await again.waitFor(/kept-2\r/);
    again.type("exit 4\r");
    assert.equal(await again.exited, 4);
  });

  test("attach without an id takes the only session; ends are told by sessions", async () => {
    const terminal = open("console", "-s", "box");
    terminal.type("echo rea''dy\r");
    await terminal.waitFor(/ready\r/);
    const listed = await bench.run(["sessions", "list", "-s", "box", "--json"]);
    const [session] = JSON.parse(listed.stdout) as { id: string; tty: boolean; command: string }[];
    assert.equal(session?.tty, true);
    assert.equal(session.command, "bash -l");
    const table = await bench.run(["s", "ls", "-s", "box"]);
    assert.match(table.stdout, /^ID +COMMAND +TTY +STARTED +LAST ACTIVITY\n\d+ +bash -l +yes /);

    const second = open("attach", "-s", "box");
    await second.waitFor(/ready\r/);
    const killed = await bench.run([
      "sessions",
      "kill",
      session.id,
      "-s",
      "box",
      "--signal",
      "KILL",
    ]);
    assert.equal(killed.stdout, `Session ${session.id} ended with exit code 137.\n`);
    assert.equal(await terminal.exited, 137);
    assert.equal(await second.exited, 137);
    const gone = await bench.run(["sessions", "kill", session.id, "-s", "box"]);
    assert.equal(gone.exitCode, 1);
    assert.match(gone.stderr, /has already ended/);
    const nothing = await bench.run(["attach", "-s", "box"]);
    assert.match(nothing.stderr, /runs no session/);
    const unknown = await bench.run(["attach", "99999999", "-s", "box"]);
    assert.match(unknown.stderr, /session not found: 99999999\n.*sessions list/);
  });

  test("a closed window leaves the shell running", async () => {
    const terminal = open("console", "-s", "box");
    terminal.type("X=kept; echo rea''dy\r");
    await terminal.waitFor(/ready\r/);
    terminal.hangUp();
    await terminal.exited;
    const again = open("attach", "-s", "box");
    await again.waitFor(/ready\r\n/);
    again.type("echo $X-$((1+1)); exit\r");
    await again.waitFor(/kept-2\r/);
    assert.equal(await again.exited, 0);
  });

  test("modes that a program left on are taken back on the way out", async () => {
    const terminal = open("console", "-s", "box");
    terminal.type("printf '\\033[?1049h\\033[?25l'; echo rea''dy\r");
    await terminal.waitFor(/ready\r/);
    terminal.type("\u001c");
    await terminal.exited;
    assert.match(terminal.screen, /\u001b\[\?1049l\u001b\[\?25h/);
  });

  test("list --watch draws a table over itself", async () => {
    for (const name of ["aa", "bb"]) bench.server.addSprite(name);
    const terminal = open("list", "--watch");
    await terminal.waitFor(/NAME +STATUS +FOR +WHY\r\n.*\u001b\[\d+A\r\u001b\[J.*aa .*bb .*box /s);
    assert.equal(await terminal.exited, 1, "the fake server ends the watch");
    for (const name of ["aa", "bb"]) bench.server.sprites.delete(name);
  });

  test("create opens a console, destroy asks for the name", async () => {
    const creating = open("create", "fresh");
    await creating.waitFor(/Created fresh\r/);
    creating.type("echo in''side; exit\r");
    await creating.waitFor(/inside\r/);
    assert.equal(await creating.exited, 0);

    const refused = open("destroy", "fresh");
    await refused.waitFor(/Type the name/);
    refused.type("no\r");
    assert.equal(await refused.exited, 1);
    assert.ok(bench.server.sprites.has("fresh"));

    await bench.run(["use", "fresh"]);
    const destroying = open("destroy");
    await destroying.waitFor(/Destroy fresh/);
    destroying.type("fresh\r");
    await destroying.waitFor(/Destroyed fresh; removed \.sprite/);
    assert.equal(await destroying.exited, 0);
    assert.ok(!bench.server.sprites.has("fresh"));
    assert.ok(!existsSync(join(bench.directory, ".sprite")));
  });

  test("a person sees a sign of life after a second, a pipe does not", async () => {
    bench.server.faults.delayMs = 1_500;
    const terminal = open("list");
    await terminal.waitFor(/\| Listing sprites \(1 s\)/);
    await terminal.waitFor(/NAME/);
    assert.equal(await terminal.exited, 0);
    const piped = await bench.run(["list"]);
    assert.equal(piped.stderr, "");
  });
});
