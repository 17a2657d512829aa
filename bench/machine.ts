/** What the bench reads of the machine: idle moments, processes, cgroups. */
import { glob, readdir, readFile, rmdir } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand } from "../src/host/command.ts";

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

/** Kills what this process started and waits for. A server is asked to end instead, since it has to clean up itself. */
export async function killChildren(): Promise<void> {
  const killTree = async (pid: number): Promise<void> => {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    for (const child of text.split(" ").map(Number)) {
      if (child === 0) continue;
      const command = await readFile(`/proc/${child}/cmdline`, "utf8").catch(() => "");
      const isServer = command.includes("/spritesd");
      if (!isServer) await killTree(child);
      try {
        process.kill(child, isServer ? "SIGTERM" : "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
  };
  await killTree(process.pid);
}
