/**
 * Ends what a test run left behind, in the order in which one thing keeps another: FUSE, processes,
 * mounts, loops, the rest.
 */
import { execFile } from "node:child_process";
import { rm, rmdir } from "node:fs/promises";
import { promisify } from "node:util";

import { abortFuseConnections, fuseMountsOf } from "../src/host/fuse-connections.ts";
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
  sparedConnections: ReadonlySet<number>,
): Promise<number[]> {
  const connections = new Set<number>();
  for (const entry of descendantsOf(rootPid, await readProcesses())) {
    for (const connection of (await fuseMountsOf(entry.pid)).values()) {
      if (!sparedConnections.has(connection)) connections.add(connection);
    }
  }
  await abortFuseConnections([...connections]);
  return [...connections];
}

/** Removes leftovers by kind. What cannot be removed stays reported as leaked, which fails the run anyhow. */
export async function removeLeaks(leaks: readonly Leak[]): Promise<void> {
  const named = (kind: Leak["kind"]): string[] =>
    leaks.filter((leak) => leak.kind === kind).map((leak) => leak.name);
  await abortFuseConnections(named("hanging FUSE connection").map(Number));
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
