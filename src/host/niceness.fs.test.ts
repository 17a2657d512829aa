import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { test } from "node:test";

import { setNiceness, startWithNiceness } from "./niceness.ts";

test("a process, its threads and all that descend from it get the same nice value", async () => {
  const script = 'sleep 100 & echo $!; trap "kill $!" EXIT; read line';
  const child = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  try {
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const grandchild = Number(String(line));
    const before = getPriority(child.pid ?? 0);
    setNiceness({ pid: child.pid ?? 0, cgroupPath: "/no-such-cgroup" }, before + 3);
    assert.equal(getPriority(child.pid ?? 0), before + 3);
    assert.equal(getPriority(grandchild), before + 3);
    const group = `/proc/${child.pid}/autogroup`;
    if (existsSync(group)) assert.match(readFileSync(group, "utf8"), /nice 3\n$/);
  } finally {
    child.stdin.end("\n");
    await once(child, "exit");
  }
  // Of one that has ended it is no error.
  setNiceness({ pid: child.pid ?? 0, cgroupPath: "/no-such-cgroup" }, 5);
  startWithNiceness(child.pid ?? 0, 5);
});
