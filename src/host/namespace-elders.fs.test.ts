import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { namespaceElders } from "./namespace-elders.ts";

test("elders are those who were there before, neither this process nor its children", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  await once(child, "spawn");
  try {
    const elders = namespaceElders();
    const pids = elders.map(({ identity }) => identity.pid);
    assert.ok(pids.includes(process.ppid));
    assert.ok(!pids.includes(process.pid));
    assert.ok(!pids.includes(child.pid ?? 0));
    const parent = elders.find(({ identity }) => identity.pid === process.ppid);
    assert.ok((parent?.commandLine.length ?? 0) > 0);
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});
