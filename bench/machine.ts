/** What the bench reads of the machine: idle moments, processes, cgroups. */
import { glob, readFile, rmdir } from "node:fs/promises";
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
