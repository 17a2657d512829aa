import assert from "node:assert/strict";
import { test } from "node:test";

import { HostError, runCommand } from "./command.ts";

const shell = (script: string, options: Partial<Parameters<typeof runCommand>[2]> = {}) =>
  runCommand("sh", ["-c", script], { deadlineMs: 5000, ...options });

async function errorOf(work: Promise<unknown>): Promise<HostError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof HostError);
    return error;
  }
  assert.fail("it did not fail");
}

test("gives a program its input, and returns both outputs", async () => {
  const output = await shell("cat; echo other >&2", { input: "text" });
  assert.deepEqual(output, { stdout: "text", stderr: "other\n" });
});

test("a program sees nothing of the server's environment", async () => {
  process.env["SECRET_OF_THE_SERVER"] = "x";
  const { stdout } = await shell("env");
  assert.doesNotMatch(stdout, /SECRET/);
  assert.match(stdout, /^PATH=/m);
});

test("an exit code becomes an error with the end of what was said", async () => {
  const error = await errorOf(shell("echo reason >&2; exit 3"));
  assert.equal(error.code, "exit_status");
  assert.equal(error.exitCode, 3);
  assert.match(error.message, /^sh exited with 3: reason$/);
});

test("a missing program is an error of its own", async () => {
  const error = await errorOf(runCommand("/no/such/program", [], { deadlineMs: 1000 }));
  assert.equal(error.code, "not_found");
});

test("past the deadline it rejects at once, though a grandchild holds the pipes", async () => {
  const start = performance.now();
  const error = await errorOf(shell("sleep 8 & wait", { deadlineMs: 100 }));
  assert.equal(error.code, "deadline_exceeded");
  assert.ok(performance.now() - start < 7_000);
});

test("a signal gives up, also when it was given before", async () => {
  const controller = new AbortController();
  const work = errorOf(shell("sleep 5", { signal: controller.signal }));
  controller.abort();
  assert.equal((await work).code, "aborted");
  assert.equal((await errorOf(shell("true", { signal: AbortSignal.abort() }))).code, "aborted");
});

test("output without end is cut off", async () => {
  const error = await errorOf(shell("yes"));
  assert.equal(error.code, "output_too_large");
});
