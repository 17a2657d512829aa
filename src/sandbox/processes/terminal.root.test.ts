import assert from "node:assert/strict";
import { buffer } from "node:stream/consumers";
import { after, before, test } from "node:test";

import { waitUntil } from "../../base/wait.ts";
import type { ExitStatus, TerminalProcess, TerminalSize } from "../process.ts";
import { startTestContainer, type TestContainer } from "./testing.ts";

const environment = [
  ["PATH", "/usr/local/bin:/usr/bin:/bin"],
  ["HOME", "/home/sprite"],
  ["TERM", "xterm-256color"],
] as const;

let container: TestContainer;
before(async () => {
  container = await startTestContainer();
});
after(async () => {
  await container[Symbol.asyncDispose]();
});

function launch(
  argv: readonly string[],
  size: TerminalSize = { columns: 80, rows: 24 },
  directory = "/home/sprite",
): Promise<TerminalProcess> {
  const path = argv[0] ?? "";
  return container.launcher.launchTerminal({ argv, path, environment, directory }, size);
}

interface Result {
  output: string;
  code: number | string;
}

async function finish(process: TerminalProcess): Promise<Result> {
  const [output, status] = await Promise.all([buffer(process.output), process.exited]);
  return { output: output.toString(), code: describe(status) };
}

function describe(status: ExitStatus): number | string {
  return status.kind === "exited" ? status.code : status.reason;
}

/** Gathers output until it holds the text. */
async function waitForOutput(process: TerminalProcess, text: string): Promise<void> {
  let seen = "";
  process.output.on("data", (bytes: Buffer) => {
    seen += bytes.toString();
  });
  assert.ok(await waitUntil(() => seen.includes(text), { timeoutMs: 30_000 }), seen);
}

test("a terminal has its device, its size and its settings from the start", async () => {
  const process = await launch(["bash", "-c", "tty; stty size; stty -a; echo $$"], {
    columns: 100,
    rows: 30,
  });
  const { output, code } = await finish(process);
  const lines = output.split("\r\n");
  assert.match(lines[0] ?? "", /^\/dev\/pts\/[0-9]+$/);
  assert.equal(lines[1], "30 100");
  assert.match(output, /\sonlcr/);
  assert.match(output, /\siutf8/);
  assert.equal(lines.at(-2), String(process.pid));
  assert.equal(code, 0);
  assert.equal(process.executable, "/usr/bin/bash");
  assert.equal((await finish(await launch(["stty", "size"]))).output, "24 80\r\n");
});

test("a resize arrives, with its signal", async () => {
  const script = "trap 'stty size; exit 3' WINCH; echo go; while :; do sleep 0.05; done";
  const process = await launch(["bash", "-c", script]);
  const result = finish(process);
  await waitForOutput(process, "go");
  process.resize({ columns: 120, rows: 40 });
  assert.deepEqual(await result, { output: "go\r\n40 120\r\n", code: 3 });
});

test("only the program's own settings change its output", async () => {
  const raw = await finish(await launch(["bash", "-c", "stty raw; printf 'a\\nb'; exit 7"]));
  assert.deepEqual(raw, { output: "a\nb", code: 7 });
});

test("keys reach the program: text, end of input and interrupt", async () => {
  const cat = await launch(["cat"]);
  cat.write(Buffer.from("hello\n\x04"));
  assert.deepEqual(await finish(cat), { output: "hello\r\nhello\r\n", code: 0 });
  const sleep = await launch(["bash", "-c", "echo go; exec sleep 100"]);
  const result = finish(sleep);
  await waitForOutput(sleep, "go");
  sleep.write(Buffer.of(3));
  assert.deepEqual(await result, { output: "go\r\n^C", code: 130 });
});

test("what cannot run says why on the terminal", async () => {
  const missing = await finish(await launch(["nonesuch"]));
  assert.deepEqual(missing, { output: "sprite: nonesuch: command not found\r\n", code: 127 });
  const nowhere = await finish(await launch(["pwd"], undefined, "/nonesuch"));
  assert.equal(nowhere.code, 126);
});

test("bytes that are no text pass, and 10 MB before an immediate exit", async () => {
  const bytes = await launch(["bash", "-c", "stty raw; printf '\\x80\\xff\\xc3'"]);
  assert.deepEqual(await buffer(bytes.output), Buffer.from([0x80, 0xff, 0xc3]));
  const large = await launch(["bash", "-c", "head -c 10000000 /dev/zero | tr '\\0' x"]);
  const { output, code } = await finish(large);
  assert.equal(output.length, 10_000_000);
  assert.equal(code, 0);
});

test("120 fast commands lose no byte", async () => {
  let started = 0;
  const worker = async () => {
    while (started < 120) {
      const number = ++started;
      const result = await finish(await launch(["echo", `ok ${number}`]));
      assert.deepEqual(result, { output: `ok ${number}\r\n`, code: 0 });
    }
  };
  await Promise.all([worker(), worker(), worker()]);
});

test("output that is read late is all there", async () => {
  const process = await launch(["bash", "-c", "head -c 300000 /dev/zero | tr '\\0' y; exit 4"]);
  await new Promise((resolve) => setTimeout(resolve, 600));
  const { output, code } = await finish(process);
  assert.deepEqual([output.length, code], [300_000, 4]);
});

test("a program left on the terminal does not keep the command from ending", async () => {
  const script = "setsid sleep 30 & sleep 0.1; echo done; exit 9";
  const startMs = performance.now();
  const result = await finish(await launch(["bash", "-c", script]));
  assert.deepEqual(result, { output: "done\r\n", code: 9 });
  assert.ok(performance.now() - startMs < 5_000);
});

test("a signal ends the command, and a killed one says 128 + n", async () => {
  const process = await launch(["bash", "-c", "echo go; sleep 100 & wait"]);
  const result = finish(process);
  await waitForOutput(process, "go");
  process.kill("SIGKILL");
  assert.equal((await result).code, 137);
});

test("a waiting terminal that the guest kills is replaced", async () => {
  await finish(await launch(["true"]));
  // The one started ahead of its use is killed together with all else that runs as this user.
  const killer = await launch(["bash", "-c", "sleep 0.3; kill -KILL -1"]);
  await finish(killer);
  const results = await Promise.all(
    [1, 2, 3].map(async (n) => finish(await launch(["echo", String(n)]))),
  );
  assert.deepEqual(
    results.map(({ output }) => output),
    ["1\r\n", "2\r\n", "3\r\n"],
  );
});
