import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { descendantsOf, readProcesses } from "./process-tree.ts";
import { repositoryDirectory } from "./source-files.ts";

const run = promisify(execFile);

async function runTests(args: readonly string[]): Promise<{ code: number; output: string }> {
  const command = [join(repositoryDirectory, "tools/run-tests.ts"), ...args];
  // The runner under test is not part of the runner that runs this: node marks its own children.
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const env = { ...environment, OPENSPRITES_SHARED_MACHINE: "1", TMPDIR: "/tmp" };
  try {
    const { stdout } = await run(process.execPath, command, { env, timeout: 60_000 });
    return { code: 0, output: stdout };
  } catch (error) {
    const failure = error as { code: number; stdout: string };
    return { code: failure.code, output: failure.stdout };
  }
}

test("a run whose watcher is killed ends with it", async () => {
  const command = [
    join(repositoryDirectory, "tools/run-tests.ts"),
    "--file",
    "tools/fixtures/leaves-things.ts",
  ];
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  // A killed watcher cannot remove its directory.
  const directory = await mkdtemp(join(tmpdir(), "run-"));
  const env = { ...environment, OPENSPRITES_SHARED_MACHINE: "1", TMPDIR: directory };
  const watcher = spawn(process.execPath, command, { env, stdio: ["ignore", "pipe", "ignore"] });
  // The fixture's test has passed; the run now waits for the process that it left.
  for await (const bytes of watcher.stdout as AsyncIterable<Buffer>) {
    if (bytes.toString().includes("duration_ms")) break;
  }
  const run = descendantsOf(watcher.pid ?? 0, await readProcesses()).map(({ pid }) => pid);
  assert.ok(run.length >= 4);
  watcher.kill("SIGKILL");
  const isAlive = async (): Promise<boolean> =>
    (await readProcesses()).some(({ pid, state }) => run.includes(pid) && state !== "Z");
  const deadlineMs = performance.now() + 10_000;
  while (await isAlive()) assert.ok(performance.now() < deadlineMs, "the run outlives its watcher");
  await assertNothingLeft("left-by-a-test");
  await rm(directory, { recursive: true });
});

async function assertNothingLeft(word: string): Promise<void> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  assert.ok(!mounts.includes(word), `a mount of ${word} stays`);
}

test("a run whose tests pass succeeds, and ends with the count", async () => {
  const { code, output } = await runTests(["--file", "tools/test-counts.test.ts"]);
  assert.equal(code, 0, output);
  assert.match(output, /\n1 passed, 0 failed\n$/);
});

test("a run whose tests leave a process and a mount fails, and nothing stays", async () => {
  const sleepersBefore = (await readProcesses()).filter(({ name }) => name === "sleep").length;
  const { code, output } = await runTests(["--file", "tools/fixtures/leaves-things.ts"]);
  assert.equal(code, 1, output);
  assert.match(output, /LEAKED by the tests: process sleep/);
  assert.match(output, /LEAKED by the tests: mount .*left-by-a-test/);
  assert.match(output, /\n1 passed, 1 failed\n$/);
  await assertNothingLeft("left-by-a-test");
  const sleepers = (await readProcesses()).filter(({ name }) => name === "sleep").length;
  assert.ok(sleepers <= sleepersBefore, "the sleeper still runs");
});

test("a run that hangs on a dead FUSE mount is ended within its budget", async () => {
  const startedAtMs = performance.now();
  const { code, output } = await runTests([
    "--file",
    "tools/fixtures/hangs-on-fuse.ts",
    "--budget-seconds",
    "3",
  ]);
  assert.equal(code, 1, output);
  assert.match(output, /waiting for a FUSE server/);
  assert.match(output, /THE RUN TOOK TOO LONG/);
  assert.match(output, /aborted FUSE connections: \d+/);
  assert.match(output, /\n0 passed, 1 failed\n$/);
  assert.ok(performance.now() - startedAtMs < 20_000);
  await assertNothingLeft("stuck");
});
