import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { test } from "node:test";
import { KeptDescriptors } from "./kept-descriptors.ts";

test("a copy of a child's descriptor keeps what it stands for alive, until it is released", async () => {
  // Holds the writing end of a pipe whose reader sees the end when the last writer has gone.
  const child = spawn("sh", ["-c", "echo ready; exec sleep 60"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await once(child.stdout, "data");
  const kept = new KeptDescriptors();
  assert.ok(child.pid !== undefined);
  kept.copy("output", { pid: child.pid, descriptor: 1 });
  const [copy] = kept.list();
  assert.equal(copy?.key, "output");
  assert.match(readlinkSync(`/proc/self/fd/${copy.descriptor}`), /^(socket|pipe):/);
  let hasEnded = false;
  child.stdout.once("end", () => (hasEnded = true)).resume();
  child.kill("SIGKILL");
  await once(child, "exit");
  // Whatever waits for the end has had a turn.
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hasEnded, false);
  kept.release("output");
  await once(child.stdout, "end");
  assert.deepEqual(kept.list(), []);
});

test("what cannot be copied is not there for the next child", () => {
  const kept = new KeptDescriptors();
  kept.copy("stale", { pid: process.pid, descriptor: 0 });
  assert.equal(kept.list().length, 1);
  kept.copy("stale", { pid: process.pid, descriptor: 9_999 });
  assert.deepEqual(kept.list(), []);
  kept.release("never kept");
  kept.closeAll();
});
