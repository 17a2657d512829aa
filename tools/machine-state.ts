/**
 * What a test run could leave on the machine, as sets of names that can be compared. Namespaces
 * need no list of their own: one lives on in a process, and the run's end with its pid namespace,
 * or in a mount, and those are listed.
 */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { listFuseConnections, hangingFuseConnections } from "../src/host/fuse-connections.ts";

const run = promisify(execFile);

const stateKinds = [
  "hanging FUSE connection",
  "mount",
  "loop device",
  "cgroup",
  "run directory",
  "network namespace name",
  "network interface",
  "nftables table",
] as const;
type StateKind = (typeof stateKinds)[number];

/** For each kind the names of all that exists. */
export type MachineState = Record<StateKind, Set<string>>;

export interface Leak {
  kind: StateKind | "process";
  name: string;
}

export async function readMachineState(): Promise<MachineState> {
  const [connections, mounts, loops, cgroups, runs, names, links, tables] = await Promise.all([
    readHangingConnections(),
    readMounts(),
    readLoops(),
    readCgroups(),
    list("/run/opensprites"),
    list("/run/netns"),
    list("/sys/class/net").then((names) => names.filter((name) => name.startsWith("os"))),
    readTables().then((tables) => tables.filter((table) => table.includes("opensprites"))),
  ]);
  return {
    "hanging FUSE connection": new Set(connections),
    mount: new Set(mounts),
    "loop device": new Set(loops),
    cgroup: new Set(cgroups),
    "run directory": new Set(runs.map((name) => join("/run/opensprites", name))),
    "network namespace name": new Set(names),
    "network interface": new Set(links),
    "nftables table": new Set(tables),
  };
}

/** What is there now and was not before. */
export function findLeaks(before: MachineState, after: MachineState): Leak[] {
  return stateKinds.flatMap((kind) =>
    [...after[kind].difference(before[kind])].map((name) => ({ kind, name })),
  );
}

/** Whoever waits for one, such as `sync`, waits for ever: it has requests, and nobody sees it mounted. */
async function readHangingConnections(): Promise<string[]> {
  const all = await listFuseConnections();
  const numbers = new Set(all.map(({ number }) => number));
  return (await hangingFuseConnections(numbers)).map(({ number }) => String(number));
}

/** Mount points of this process's mount namespace, with their sources. */
async function readMounts(): Promise<string[]> {
  const text = await readFile("/proc/self/mountinfo", "utf8");
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const dash = fields.indexOf("-");
    return dash < 0 ? [] : [`${fields[4]} (${fields[dash + 1]} from ${fields[dash + 2]})`];
  });
}

async function readLoops(): Promise<string[]> {
  const command = ["losetup", "--list", "--json", "--output", "NAME,BACK-FILE"];
  const rows = await readTable<{ name: string; "back-file": string }>(command, "loopdevices");
  return rows
    .filter((row) => /opensprites|\/ost-/.test(row["back-file"]))
    .map((row) => `${row.name} (${row["back-file"]})`);
}

async function readTables(): Promise<string[]> {
  const command = ["nft", "--json", "list", "tables"];
  const rows = await readTable<{ table?: { family: string; name: string } }>(command, "nftables");
  return rows.flatMap(({ table }) =>
    table === undefined ? [] : [`${table.family} ${table.name}`],
  );
}

/** What the kernel's tools print as JSON: one key that holds an array. */
async function readTable<Row>(command: readonly string[], key: string): Promise<Row[]> {
  const [file = "", ...args] = command;
  const stdout = await runRetried(file, args);
  // With nothing to list some of these tools print nothing at all.
  if (stdout.trim() === "") return [];
  return (JSON.parse(stdout) as Record<string, Row[]>)[key] ?? [];
}

/**
 * These tools fail when a process or a device vanishes while they look at it; the next look does
 * not meet it.
 */
async function runRetried(file: string, args: readonly string[], triesLeft = 5): Promise<string> {
  try {
    return (await run(file, args, { timeout: 10_000 })).stdout;
  } catch (error) {
    if (triesLeft > 1) return await runRetried(file, args, triesLeft - 1);
    throw new Error(`read the machine's state: ${(error as Error).message}`, { cause: error });
  }
}

const cgroupDepthMax = 4;

async function readCgroups(directory = "/sys/fs/cgroup", depth = 0): Promise<string[]> {
  if (depth > cgroupDepthMax) return [];
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const children = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name));
  // Other people's cgroups come and go on any machine; ours all have our name at their root.
  const below = await Promise.all(children.map((child) => readCgroups(child, depth + 1)));
  return [...children, ...below.flat()].filter((path) => path.includes("/opensprites"));
}

async function list(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => []);
}
