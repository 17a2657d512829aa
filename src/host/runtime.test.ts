import assert from "node:assert/strict";
import { test } from "node:test";

import { cgroupMode, type CgroupMode } from "./cgroups.ts";
import type { RuntimeName } from "../contract/agent-startup.ts";
import { chooseRuntime } from "./runtime.ts";

const choose = (requested: string | null, cgroups: CgroupMode, installed: readonly RuntimeName[]) =>
  chooseRuntime(requested, { cgroups, isInstalled: async (name) => installed.includes(name) });

test("takes runc where it is, and crun only where cgroups are purely version 2", async () => {
  assert.equal(await choose(null, "v2", ["runc", "crun"]), "runc");
  assert.equal(await choose(null, "v2", ["crun"]), "crun");
  await assert.rejects(choose(null, "hybrid", ["crun"]), /apt-get install runc/);
});

test("takes what was asked for or says that it is not there, and never runsc by itself", async () => {
  assert.equal(await choose("crun", "v2", ["runc", "crun"]), "crun");
  await assert.rejects(choose("crun", "v2", ["runc"]), { code: "unavailable" });
  await assert.rejects(choose("runsc", "hybrid", ["runc", "runsc"]), /use runc/);
  await assert.rejects(choose(null, "v2", ["runsc"]), { code: "unavailable" });
  await assert.rejects(choose("docker", "v2", ["runc"]), /unknown runtime docker/);
});

test("tells cgroup hierarchies apart by their mounts", () => {
  const line = (type: string, directory: string, options = "rw") =>
    `x ${directory} ${type} ${options} 0 0\n`;
  const first = line("cgroup", "/sys/fs/cgroup/memory", "rw,memory");
  const second = line("cgroup2", "/sys/fs/cgroup/unified");
  assert.equal(cgroupMode(first), "v1");
  assert.equal(cgroupMode(first + second), "hybrid");
  assert.equal(cgroupMode(second), "v2");
  assert.equal(cgroupMode(line("tmpfs", "/")), "none");
});
