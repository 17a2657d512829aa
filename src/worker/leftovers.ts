import { readdir, readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { RuntimeName } from "../contract/agent-startup.ts";
import { isAlive, signalProcess } from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import { thawCgroupsBelow } from "../host/cgroup-freezer.ts";
import { cgroupDirectories } from "../host/cgroups.ts";
import { abortFuseConnections, hangingFuseConnections } from "../host/fuse-connections.ts";
import { deleteContainer } from "../host/runtime.ts";
import { commandTimeoutMs, staleAgentTimeoutMs } from "./limits.ts";
import type { Places } from "./places.ts";
import type { ChildRecord } from "./supervised-process.ts";

/**
 * Clears what a server that was killed left behind: its children, the containers, cgroups, the run
 * directory. Mounts, loop devices and network namespaces need nothing: they belong to namespaces
 * that end with the processes. A child that lost its server stores its disk and ends by itself; it
 * is given time for that before it is killed.
 */
export async function clearLeftovers(options: {
  places: Places;
  runtime: RuntimeName;
  /** Undoes what the server before changed in the machine's network; its records are in the run directory. */
  clearNetwork: () => Promise<void>;
  log: Log;
}): Promise<void> {
  const { places, runtime, clearNetwork, log } = options;
  const children = await readChildren(join(places.runDirectory, "processes"));
  const alive = children.filter(isAlive);
  if (alive.length > 0) {
    log.info({ count: alive.length }, "waiting for the processes of the server before");
    await waitUntil(() => !alive.some(isAlive), { timeoutMs: staleAgentTimeoutMs });
    for (const identity of alive) signalProcess(identity, "SIGKILL");
    await waitUntil(() => !alive.some(isAlive), { timeoutMs: commandTimeoutMs });
  }
  await endConnections(children, log);
  // With version 1 of cgroups a suspended process does not end when it is killed.
  await thawCgroupsBelow(places.cgroupParent);
  await clearContainers(places, runtime, log);
  await clearCgroups(places);
  await clearNetwork();
  await rm(places.runDirectory, { recursive: true, force: true });
}

/**
 * Everybody who served these has ended, and with them the connections should have. One that is still
 * there, and that nobody sees mounted, is waited for in the kernel by whoever unmounts it, which may
 * be its own server.
 */
async function endConnections(children: readonly ChildRecord[], log: Log): Promise<void> {
  const recorded = new Set(
    children.map(({ connection }) => connection).filter((number) => number !== undefined),
  );
  try {
    const hanging = await hangingFuseConnections(recorded);
    if (hanging.length === 0) return;
    log.error({ hanging }, "ending FUSE connections that nobody serves");
    await abortFuseConnections(hanging.map(({ number }) => number));
  } catch (error) {
    // The start goes on: new disks have connections of their own.
    log.error({ err: error }, "could not look for FUSE connections left behind");
  }
}

async function clearContainers(places: Places, runtime: RuntimeName, log: Log): Promise<void> {
  for (const containerId of await namesIn(places.runtimeRoot)) {
    try {
      const root = places.runtimeRoot;
      await deleteContainer({ runtime, root, containerId, deadlineMs: commandTimeoutMs });
    } catch (error) {
      // The start goes on: the sprite's disk is not touched by a container that has lost its mounts.
      log.error({ err: error, containerId }, "could not remove a container left behind");
    }
  }
}

/**
 * Removes our own cgroups: ends what still lives in them, then removes the directories from the
 * leaves up.
 */
export async function clearCgroups(places: Places): Promise<void> {
  const name = places.cgroupParent.slice(1);
  for (const root of cgroupDirectories()) await removeCgroup(join(root, name));
}

async function removeCgroup(directory: string): Promise<void> {
  for (const child of await namesIn(directory, { directoriesOnly: true })) {
    await removeCgroup(join(directory, child));
  }
  const pids = async (): Promise<number[]> => {
    const text = await readFile(join(directory, "cgroup.procs"), "utf8").catch(() => "");
    return text.split("\n").filter(Boolean).map(Number);
  };
  for (const pid of await pids()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
  await waitUntil(async () => (await pids()).length === 0, { timeoutMs: commandTimeoutMs });
  await rmdir(directory).catch(() => undefined);
}

async function readChildren(directory: string): Promise<ChildRecord[]> {
  const children: ChildRecord[] = [];
  for (const name of await namesIn(directory)) {
    try {
      const value = JSON.parse(await readFile(join(directory, name), "utf8")) as ChildRecord;
      if (Number.isInteger(value.pid) && value.pid > 1) children.push(value);
    } catch {
      // Cut off while being written: its process ended with the server.
    }
  }
  return children;
}

async function namesIn(
  directory: string,
  options: { directoriesOnly?: boolean } = {},
): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => options.directoriesOnly !== true || entry.isDirectory())
    .map((entry) => entry.name);
}
