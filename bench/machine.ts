/** What the bench reads of the machine: idle moments, processes, cgroups. */
import { glob, readdir, readFile, rmdir } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";

const serverEndTimeoutMs = 12_000;
const quietTicksMax = 4;
const quietWindowMs = 300;
const quietTimeoutMs = 8_000;

/**
 * Waits until dirty data is on the disk and the given processes have nothing left to do, so that one side's background work
 * does not fall into the other side's measurement. Gives up after a bound: another program may keep the machine busy.
 */
export async function settle(pids: readonly number[], directory: string): Promise<void> {
  const deadline = performance.now() + quietTimeoutMs;
  let before = await ticksOf(pids);
  while (performance.now() < deadline) {
    await runCommand("sync", ["--file-system", directory], { deadlineMs: 60_000 });
    await sleep(quietWindowMs);
    const now = await ticksOf(pids);
    if (now - before <= quietTicksMax) return;
    before = now;
  }
}

/** Processor time of the processes in clock ticks (10 ms). */
async function ticksOf(pids: readonly number[]): Promise<number> {
  let ticks = 0;
  for (const pid of pids) {
    const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks;
}

/** Whether the host's ext4 has a journal decides what an fsync costs it; a guest's always has one. */
export async function hostDiskName(directory: string): Promise<string> {
  const args = ["--noheadings", "--output", "SOURCE,FSTYPE", "--target", directory];
  const { stdout } = await runCommand("findmnt", args, { deadlineMs: 10_000 });
  const [source = "", type = ""] = stdout.trim().split(/\s+/);
  if (type !== "ext4") return `host ${type}`;
  const journals = await readdir("/proc/fs/jbd2").catch(() => []);
  const hasJournal = journals.some((name) => name.startsWith(`${basename(source)}-`));
  return hasJournal ? "host ext4" : "host ext4 without journal";
}

export async function residentMegabytes(pid: number): Promise<{ all: number; private: number }> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN);
  const megabytes = (name: string): number => (kibibytes(name) * 1024) / 1e6;
  return { all: megabytes("VmRSS"), private: megabytes("RssAnon") };
}

/** Removes an empty cgroup and those below it from every hierarchy. */
export async function removeCgroups(name: string): Promise<void> {
  const found: string[] = [];
  for (const pattern of [`/sys/fs/cgroup/*${name}/**/`, `/sys/fs/cgroup${name}/**/`]) {
    for await (const path of glob(pattern)) found.push(path);
  }
  // Deepest first, since only an empty one can go.
  for (const path of found.toSorted((a, b) => b.length - a.length)) {
    await rmdir(path).catch(() => undefined);
  }
}

/** Kills what this process started, except servers: those end by themselves when asked, and clean up. */
export async function killChildren(): Promise<void> {
  const killTree = async (pid: number): Promise<void> => {
    for (const child of await childrenOf(pid)) {
      if (await isServer(child)) continue;
      await killTree(child);
      signal(child, "SIGKILL");
    }
  };
  await killTree(process.pid);
}

/** Ends servers that nobody else has ended, such as one that a signal met while it was starting. */
export async function endServers(): Promise<void> {
  const servers: number[] = [];
  for (const child of await childrenOf(process.pid)) {
    if (await isServer(child)) servers.push(child);
  }
  for (const pid of servers) signal(pid, "SIGINT");
  const haveEnded = async (): Promise<boolean> => {
    const left = await childrenOf(process.pid);
    return !servers.some((pid) => left.includes(pid));
  };
  await waitUntil(haveEnded, { timeoutMs: serverEndTimeoutMs });
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return text
    .split(" ")
    .map(Number)
    .filter((child) => child > 0);
}

async function isServer(pid: number): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return command.includes("/spritesd");
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself.
  }
}
