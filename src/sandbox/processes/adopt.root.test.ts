import assert from "node:assert/strict";
import { test } from "node:test";
import { buffer } from "node:stream/consumers";

import { waitUntil } from "../../base/wait.ts";
import { runCommand } from "../../host/command.ts";
import type { Command } from "../process.ts";
import { createLauncher } from "./launcher.ts";
import { startTestContainer, type TestContainer } from "./testing.ts";

function shell(script: string): Command {
  const environment = [["PATH", "/usr/bin:/bin"]] as const;
  return { argv: ["sh", "-c", script], path: "sh", environment, directory: "/" };
}

async function firstProcessOf({ launcherOptions }: TestContainer): Promise<number> {
  const { runtimeRoot, containerId } = launcherOptions;
  const args = ["--root", runtimeRoot, "state", containerId];
  const { stdout } = await runCommand("runc", args, { deadlineMs: 10_000 });
  return (JSON.parse(stdout) as { pid: number }).pid;
}

test("a launcher goes on with the commands it is told of, and ends those nobody knows", async () => {
  await using container = await startTestContainer();
  const wait = "until [ -e /tmp/go ]; do sleep 0.02; done";
  const known = await container.launcher.launch(shell(`${wait}; echo heard; exit 6`), {
    stdin: false,
  });
  const unknown = await container.launcher.launch(shell("sleep 1000"), { stdin: false });

  const next = createLauncher(container.launcherOptions);
  next.adopt(await firstProcessOf(container), [known.record]);
  const adopted = next.adoptProcess(known.record);
  assert.ok(adopted?.kind === "pipes");
  assert.equal(adopted.process.pid, known.pid);
  const gone = `! kill -0 ${unknown.pid} 2>/dev/null`;
  assert.ok(
    await waitUntil(
      () =>
        container.runAsRoot(["sh", "-c", gone]).then(
          () => true,
          () => false,
        ),
      { timeoutMs: 30_000 },
    ),
  );
  // As in a process that has died: its end of the output is closed, and its status is not read.
  known.stdout.destroy();
  known.stderr.destroy();
  const output = buffer(adopted.process.stdout);
  const again = await next.launch(shell("touch /tmp/go"), { stdin: false });
  assert.deepEqual(await again.exited, { kind: "exited", code: 0 });
  assert.equal((await output).toString(), "heard\n");
  await next.stop();
});

test("a command writes on while nobody reads, and waits when its pipe is full", async () => {
  await using container = await startTestContainer();
  const script = "seq 1 200000; exit 3";
  const first = await container.launcher.launch(shell(script), { stdin: false });
  const { record } = first;
  first.stdout.destroy();
  first.stderr.destroy();
  await waitUntil(() => first.stdout.closed, { timeoutMs: 1_000 });
  const next = createLauncher(container.launcherOptions);
  next.adopt(await firstProcessOf(container), [record]);
  const adopted = next.adoptProcess(record);
  assert.ok(adopted?.kind === "pipes");
  const text = (await buffer(adopted.process.stdout)).toString();
  assert.match(text, /\n200000\n$/);
  await next.stop();
});
