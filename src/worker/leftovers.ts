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
import { readChildren, type ChildRecord } from "./child-records.ts";
import { processesDirectory, type Places } from "./places.ts";
import { containerId } from "../sandbox/container-id.ts";
import { belongingsOf, type Survivors } from "./survivors.ts";

/**
 * Clears what a server that has ended left behind, but for what this one adopts: its children, the
 * containers, cgroups, the run directory. Mounts, loop devices and network namespaces need nothing:
 * they belong to namespaces that end with the processes. A child that lost its server and is told to
 * end stores its disk; it is given time for that before it is killed.
 */
export async function clearLeftovers(options: {
  places: Places;
  runtime: RuntimeName;
  survivors: Survivors;
  /** Undoes what the server before changed in the machine's network; its records are in the run directory. */
  clearNetwork: (() => Promise<void>) | null;
  log: Log;
}): Promise<void> {
  const { places, runtime, survivors, clearNetwork, log } = options;
  const found = await readChildren(processesDirectory(places));
  const children = found.filter(({ file }) => !survivors.files.has(file)).map((one) => one.record);
  await endChildren(children, log);
  await endConnections(children, log);
  const kept = belongingsOf(places, survivors);
  // With version 1 of cgroups a suspended process does not end when it is killed.
  await thawCgroupsBelow(places.cgroupParent, kept.cgroups);
  const keptContainers = new Set([...kept.sprites].map((id) => containerId(id)));
  await clearContainers(places, { runtime, keptContainers, log });
  await clearCgroups(places, kept.cgroups);
  await clearNetwork?.();
  const keptPaths = new Set([...kept.directories, ...survivors.files]);
  if (survivors.files.size === 0) await rm(places.runDirectory, { recursive: true, force: true });
  else await clearDirectories(places, keptPaths);
}

async function endChildren(children: readonly ChildRecord[], log: Log): Promise<void> {
  const alive = children.filter(isAlive);
  if (alive.length === 0) return;
  log.info({ count: alive.length }, "waiting for the processes of the server before");
  for (const child of alive) if (child.canOutlive === true) signalProcess(child, "SIGTERM");
  await waitUntil(() => !alive.some(isAlive), { timeoutMs: staleAgentTimeoutMs });
  for (const identity of alive) signalProcess(identity, "SIGKILL");
  await waitUntil(() => !alive.some(isAlive), { timeoutMs: commandTimeoutMs });
}

/** What is the server's own goes too; what it needs it makes anew. */
async function clearDirectories(places: Places, kept: ReadonlySet<string>): Promise<void> {
  const { runDirectory } = places;
  for (const part of ["sprites", "readers", "images", "processes"]) {
    for (const name of await namesIn(join(runDirectory, part))) {
      const path = join(runDirectory, part, name);
      const isKept = kept.has(path) || kept.has(path.replace(/\.sock$/, ".json"));
      if (!isKept) await rm(path, { recursive: true, force: true });
    }
  }
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

async function clearContainers(
  places: Places,
  options: { runtime: RuntimeName; keptContainers: ReadonlySet<string>; log: Log },
): Promise<void> {
  const { runtime, keptContainers, log } = options;
  for (const containerId of await namesIn(places.runtimeRoot)) {
    if (keptContainers.has(containerId)) continue;
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
export async function clearCgroups(
  places: Places,
  kept: ReadonlySet<string> = new Set(),
): Promise<void> {
  const name = places.cgroupParent.slice(1);
  for (const root of cgroupDirectories()) await removeCgroup(join(root, name), kept);
}

async function removeCgroup(
  directory: string,
  kept: ReadonlySet<string> = new Set(),
): Promise<void> {
  for (const child of await namesIn(directory, { directoriesOnly: true })) {
    if (!kept.has(child)) await removeCgroup(join(directory, child));
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

async function namesIn(
  directory: string,
  options: { directoriesOnly?: boolean } = {},
): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => options.directoriesOnly !== true || entry.isDirectory())
    .map((entry) => entry.name);
}
