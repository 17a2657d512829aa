/**
 * Ends what a test run left behind, in the order in which one thing keeps another: FUSE, processes,
 * mounts, loops, the rest.
 */
import { execFile } from "node:child_process";
import { readFile, rm, rmdir } from "node:fs/promises";
import { promisify } from "node:util";

import type { Leak } from "./machine-state.ts";
import { descendantsOf, readProcesses } from "./process-tree.ts";

const run = promisify(execFile);
const commandTimeoutMs = 10_000;

/**
 * Answers every request on the FUSE mounts of a process tree with an error. A process that waits
 * for a dead FUSE server cannot be killed before that. Mounts of others, found in
 * `sparedConnections`, are left alone.
 */
export async function abortFuseOf(
  rootPid: number,
  sparedConnections: ReadonlySet<string>,
): Promise<string[]> {
  const connections = new Set<string>();
  for (const entry of descendantsOf(rootPid, await readProcesses())) {
    for (const connection of await fuseConnectionsOf(entry.pid)) {
      if (!sparedConnections.has(connection)) connections.add(connection);
    }
  }
  if (connections.size === 0) return [];
  // In a mount namespace of its own, since the machine may not have fusectl mounted and need not
  // get it from us.
  const script = `mount -t fusectl none /sys/fs/fuse/connections 2>/dev/null || :
    for connection; do echo 1 >"/sys/fs/fuse/connections/$connection/abort" || :; done`;
  await run("unshare", ["--mount", "sh", "-c", script, "sh", ...connections], {
    timeout: commandTimeoutMs,
  });
  return [...connections];
}

/** The minor device numbers of the FUSE mounts that a process sees; the kernel names connections by them. */
export async function fuseConnectionsOf(pid: number | "self"): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const match = /^\d+ \d+ 0:(\d+) .* - fuse(?:blk|\.\S+)? /.exec(line);
    return match?.[1] === undefined ? [] : [match[1]];
  });
}

/** Removes leftovers by kind. What cannot be removed stays reported as leaked, which fails the run anyhow. */
export async function removeLeaks(leaks: readonly Leak[]): Promise<void> {
  const named = (kind: Leak["kind"]): string[] =>
    leaks.filter((leak) => leak.kind === kind).map((leak) => leak.name);
  for (const mount of named("mount").reverse())
    await attempt("umount", ["--lazy", firstWord(mount)]);
  for (const loop of named("loop device")) await attempt("losetup", ["--detach", firstWord(loop)]);
  for (const name of named("network namespace name"))
    await attempt("ip", ["netns", "delete", name]);
  for (const name of named("network interface")) await attempt("ip", ["link", "delete", name]);
  for (const table of named("nftables table"))
    await attempt("nft", ["delete", "table", ...table.split(" ")]);
  // Deepest first: a cgroup with children cannot be removed.
  const cgroups = named("cgroup").sort((left, right) => right.length - left.length);
  for (const cgroup of cgroups) await rmdir(cgroup).catch(() => undefined);
  for (const directory of named("run directory")) {
    await rm(directory, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function attempt(file: string, args: readonly string[]): Promise<void> {
  await run(file, args, { timeout: commandTimeoutMs }).catch(() => undefined);
}

function firstWord(text: string): string {
  return text.split(" (")[0] ?? text;
}
