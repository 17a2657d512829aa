/** What the sprites of one server hold of the machine, and what memory each of them has. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { aheadFlag } from "../../src/contract/agent-startup.ts";
import { readProcesses } from "../../tools/process-tree.ts";
import type { TestServer } from "./server.ts";

export interface Footprint {
  /** Agents with their helpers, and everything in containers. */
  processes: number;
  /** Mount and network namespaces of these. */
  namespaces: number;
  /** Of any sprite's disk or file system, in the server's own namespace. */
  mounts: number;
  loopDevices: number;
  cgroups: number;
  interfaces: number;
  runDirectories: number;
  /**
   * Open in the server: how many of each kind. Not sockets, of which its clients have some, nor databases: SQLite keeps one of its
   * own open for the next connection, and closes it with the last (sqlite.org/howtocorrupt.html, section 2.2).
   */
  serverFiles: Record<string, number>;
}

export interface SpriteMemory {
  /** Share of the memory of all processes, MB: what is mapped by several counts in parts. */
  agentMb: number;
  guestMb: number;
}

export async function footprintOf(server: TestServer): Promise<Footprint> {
  const { places, pid } = server;
  const pids = await processesOf(server);
  const spriteDirectory = join(places.runDirectory, "sprites");
  const isOfSprite = (text: string): boolean => text.includes(spriteDirectory);
  const [mounts, loops, cgroups, links, runs, files] = await Promise.all([
    readFile(`/proc/${pid}/mounts`, "utf8"),
    backingFiles(),
    directoriesBelow(await cgroupDirectory(places.cgroupParent)),
    readdir("/sys/class/net"),
    readdir(spriteDirectory).catch(() => []),
    openFiles(pid),
  ]);
  return {
    processes: pids.length,
    namespaces: await countNamespaces(pids),
    mounts: mounts.split("\n").filter(isOfSprite).length,
    loopDevices: loops.filter(isOfSprite).length,
    cgroups,
    interfaces: links.filter((name) => name.startsWith(`os${places.serverHash.slice(0, 6)}`))
      .length,
    runDirectories: runs.length,
    serverFiles: countByKind(files.filter((target) => !/^socket:|\/orgs\/\w+\.db/.test(target))),
  };
}

/** Of an agent and its sprite's container. */
export async function memoryOf(agentPid: number): Promise<SpriteMemory> {
  const all = await readProcesses();
  const ofAgent = new Set([agentPid]);
  for (const { pid, parentPid } of all) if (ofAgent.has(parentPid)) ofAgent.add(pid);
  const inside = all.filter(({ pid }) => pid !== agentPid && ofAgent.has(pid));
  const guest = await Promise.all(inside.map(({ pid }) => isGuest(pid)));
  const sum = async (pids: readonly number[]): Promise<number> => {
    const sizes = await Promise.all(pids.map(residentMb));
    return sizes.reduce((total, size) => total + size, 0);
  };
  const guestPids = inside.filter((_, index) => guest[index]).map(({ pid }) => pid);
  const agentPids = [...ofAgent].filter((pid) => !guestPids.includes(pid));
  return { agentMb: await sum(agentPids), guestMb: await sum(guestPids) };
}

/** Proportional share, MB; 0 for one that has gone. */
export async function residentMb(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) / 1024;
}

/** Below the server, but for itself, its image servers and what is theirs; and what runs in its cgroups. */
async function processesOf(server: TestServer): Promise<number[]> {
  const all = await readProcesses();
  const agents = new Set<number>();
  for (const { pid, parentPid } of all) {
    if (agents.has(parentPid)) agents.add(pid);
    else if (parentPid === server.pid && (await isAgent(pid))) agents.add(pid);
  }
  const cgroups = await Promise.all(
    all.map(({ pid }) => readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "")),
  );
  const guests = all.filter((_, index) => cgroups[index]?.includes(server.places.cgroupParent));
  return [...new Set([...agents, ...guests.map(({ pid }) => pid)])];
}

async function isAgent(pid: number): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const isNobodys = command.includes(aheadFlag);
  return command.startsWith("sprite ") || (command.includes("agent/main.ts") && !isNobodys);
}

async function isGuest(pid: number): Promise<boolean> {
  const cgroup = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
  return cgroup.includes("/opensprites-");
}

async function countNamespaces(pids: readonly number[]): Promise<number> {
  const kinds = ["mnt", "net"];
  const links = pids.flatMap((pid) =>
    kinds.map((kind) => readlink(`/proc/${pid}/ns/${kind}`).catch(() => "")),
  );
  const own = kinds.map((kind) => readlink(`/proc/self/ns/${kind}`));
  const found = new Set(await Promise.all(links));
  for (const link of ["", ...(await Promise.all(own))]) found.delete(link);
  return found.size;
}

async function backingFiles(): Promise<string[]> {
  const devices = (await readdir("/sys/block")).filter((name) => name.startsWith("loop"));
  return await Promise.all(
    devices.map((name) => readFile(`/sys/block/${name}/loop/backing_file`, "utf8").catch(() => "")),
  );
}

async function cgroupDirectory(parent: string): Promise<string> {
  const mounts = await readFile("/proc/self/mounts", "utf8");
  const rows = mounts.split("\n").map((line) => line.split(" "));
  const root = rows.find(
    ([, , type, options = ""]) =>
      type === "cgroup2" || (type === "cgroup" && options.includes("memory")),
  );
  return join(root?.[1] ?? "/sys/fs/cgroup", parent);
}

async function directoriesBelow(directory: string): Promise<number> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = entries.filter((entry) => entry.isDirectory());
  const counts = await Promise.all(
    below.map(({ name }) => directoriesBelow(join(directory, name))),
  );
  return below.length + counts.reduce((total, count) => total + count, 0);
}

/** Files by their names, the rest by what it is. */
function countByKind(targets: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const target of targets.toSorted()) {
    const kind = target.replace(/\[\d+\]$/, "");
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

async function openFiles(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`);
  return await Promise.all(
    names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => "")),
  );
}
