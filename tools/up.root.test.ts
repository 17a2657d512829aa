import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { repositoryDirectory } from "./source-files.ts";

interface Up {
  child: ChildProcess;
  url: string;
  token: string;
  output: () => string;
  readyMs: number;
}

/** Starts what `make up` starts after `make deps`, and waits until it has said how to use the server. */
async function startUp(dataDirectory: string): Promise<Up> {
  const startedAtMs = performance.now();
  const child = spawn(join(repositoryDirectory, "tools/up.sh"), {
    env: {
      ...process.env,
      SPRITES_IMAGE: "minimal",
      SPRITES_DATA: dataDirectory,
      SPRITES_LISTEN: "127.0.0.1:0",
      SPRITES_LISTEN_TLS: "127.0.0.1:0",
      SPRITES_UPLINK: "none",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const said = new Promise<void>((resolve, reject) => {
    const note = (bytes: Buffer): void => {
      output += bytes.toString();
      if (output.includes("first console")) resolve();
    };
    child.stdout.on("data", note);
    child.stderr.on("data", note);
    child.once("close", (code) => reject(new Error(`up ended with ${code}:\n${output}`)));
    setTimeout(() => reject(new Error(`up is not ready:\n${output}`)), 120_000).unref();
  });
  await said;
  return {
    child,
    url: /^ready (\S+)$/m.exec(output)?.[1] ?? "",
    token: /^ {2}token {2}(\S+)$/m.exec(output)?.[1] ?? "",
    output: () => output,
    readyMs: performance.now() - startedAtMs,
  };
}

async function stopUp(up: Up): Promise<number> {
  const startedAtMs = performance.now();
  const closed = once(up.child, "close");
  up.child.kill("SIGINT");
  assert.deepEqual(await closed, [0, null], up.output());
  return performance.now() - startedAtMs;
}

test("make up says URL, token and three commands; the second is quick and keeps the token", async () => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "up-"));
  let running: Up | null = null;
  try {
    const first = (running = await startUp(dataDirectory));
    assert.match(first.output(), /isolation: /);
    assert.equal((first.output().match(/^ {2}sprite /gm) ?? []).length, 3);
    const response = await fetch(`${first.url}/v1/sprites`, {
      headers: { authorization: `Bearer ${first.token}` },
    });
    assert.equal(response.status, 200);
    await response.body?.cancel();
    assert.ok((await stopUp(first)) < 10_000);

    const tokenFile = join(dataDirectory, "token-local");
    assert.equal((await stat(tokenFile)).mode & 0o777, 0o600);
    assert.equal((await readFile(tokenFile, "utf8")).trim(), first.token);

    // The best of two: other work on the machine must not decide it.
    const readyMs: number[] = [];
    for (let start = 0; start < 2; start += 1) {
      const again = (running = await startUp(dataDirectory));
      assert.equal(again.token, first.token);
      readyMs.push(again.readyMs);
      await stopUp(again);
    }
    // As after a pull: the second takes the first one's place.
    const replaced = await startUp(dataDirectory);
    const itsEnd = once(replaced.child, "close");
    running = await startUp(dataDirectory);
    assert.match(running.output(), /^up: taking over from process \d+; its sprites go on$/m);
    assert.deepEqual(await itsEnd, [0, null]);
    const ended = once(running.child, "close");
    const down = spawn(join(repositoryDirectory, "tools/up.sh"), ["down"], {
      env: { ...process.env, SPRITES_DATA: dataDirectory },
    });
    assert.deepEqual(await once(down, "close"), [0, null]);
    assert.deepEqual(await ended, [0, null]);
    assert.ok(Math.min(...readyMs) < 3_000, `later starts took ${readyMs.join(" and ")} ms`);
    running = null;
  } finally {
    running?.child.kill("SIGINT");
    await rm(dataDirectory, { recursive: true, force: true });
  }
});
