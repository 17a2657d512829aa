/**
 * Stopping and going on with all processes of a cgroup at once, in both versions of cgroups
 * (kernel documentation: freezer-subsystem.rst, cgroup-v2.rst).
 */
import { readFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { waitUntil } from "../base/wait.ts";
import { cgroupMount } from "./cgroups.ts";
import { HostError } from "./command.ts";
import { freezeMsMax, freezePollMs } from "./limits.ts";

interface Switch {
  file: string;
  frozen: string;
  thawed: string;
  /** Whether every process has stopped; in between some still run. */
  isFrozen: (directory: string) => Promise<boolean>;
}

const version1: Switch = {
  file: "freezer.state",
  frozen: "FROZEN",
  thawed: "THAWED",
  isFrozen: async (directory) =>
    (await readFile(join(directory, "freezer.state"), "utf8")).trim() === "FROZEN",
};

const version2: Switch = {
  file: "cgroup.freeze",
  frozen: "1",
  thawed: "0",
  isFrozen: async (directory) =>
    /^frozen 1$/m.test(await readFile(join(directory, "cgroup.events"), "utf8")),
};

/**
 * Resolves when no process of the cgroup runs any more; its memory stays.
 * @param cgroupPath relative to the hierarchy's root
 * @throws HostError: one did not stop in time, as when it waits for a disk; all go on
 */
export async function freezeCgroup(cgroupPath: string): Promise<void> {
  const { directory, way } = freezerOf(cgroupPath);
  await set(directory, way.file, way.frozen);
  const isFrozen = await waitUntil(() => way.isFrozen(directory), {
    timeoutMs: freezeMsMax,
    intervalMs: freezePollMs,
  });
  if (isFrozen) return;
  await set(directory, way.file, way.thawed);
  throw new HostError("deadline_exceeded", `${cgroupPath} did not stop in ${freezeMsMax} ms`, {
    command: "freeze",
  });
}

/** Lets them go on. Does nothing to a cgroup that is not there. @throws HostError */
export async function thawCgroup(cgroupPath: string): Promise<void> {
  const { directory, way } = freezerOf(cgroupPath);
  await set(directory, way.file, way.thawed, { mayBeMissing: true });
}

/** The same for all cgroups below one, of which the names are not known, but for those that are named. */
export async function thawCgroupsBelow(
  cgroupPath: string,
  kept: ReadonlySet<string>,
): Promise<void> {
  const { directory, way } = freezerOf(cgroupPath);
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isDirectory() || kept.has(entry.name)) continue;
    await set(join(directory, entry.name), way.file, way.thawed, { mayBeMissing: true });
  }
}

async function set(
  directory: string,
  file: string,
  value: string,
  options: { mayBeMissing: boolean } = { mayBeMissing: false },
): Promise<void> {
  try {
    await writeFile(join(directory, file), value, { flag: "r+" });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (options.mayBeMissing && (code === "ENOENT" || code === "ENODEV")) return;
    throw new HostError("exit_status", `cannot write ${value} to ${directory}/${file}`, {
      command: "freeze",
      cause,
    });
  }
}

function freezerOf(cgroupPath: string): { directory: string; way: Switch } {
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  const { directory, version } = cgroupMount("freezer", mounts);
  return { directory: join(directory, cgroupPath), way: version === 1 ? version1 : version2 };
}
