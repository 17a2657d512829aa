/**
 * How much processor time processes get beside others (nice(1)): a thread has its own, and gives it to those that it starts.
 * Where the kernel groups processes by session (sched(7), "The autogroup feature"), it counts within the session only, and
 * the session has one too.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { join } from "node:path";

import { cgroupMount } from "./cgroups.ts";

/**
 * Gives a process, all that descend from it, and all of a cgroup, the same nice value. Who is started meanwhile by one that
 * was not reached yet is found by looking again. Those that have ended are no error.
 * @param of.cgroupPath relative to the hierarchy's root
 */
export function setNiceness(of: { pid: number; cgroupPath: string }, nice: number): void {
  setSessionNiceness(of.pid, nice);
  const done = new Set<number>();
  for (;;) {
    const threads = [...descendants(of.pid), ...processesOf(of.cgroupPath)]
      .flatMap((pid) => numbersIn(`/proc/${pid}/task`))
      .filter((thread) => !done.has(thread));
    if (threads.length === 0) return;
    for (const thread of threads) {
      done.add(thread);
      setThreadNiceness(thread, nice);
    }
  }
}

/** Of a process that was just started, with a session of its own. */
export function startWithNiceness(pid: number, nice: number): void {
  setSessionNiceness(pid, nice);
  setThreadNiceness(pid, nice);
}

function setSessionNiceness(pid: number, nice: number): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice), { flag: "r+" });
  } catch {
    // The kernel does not group, or the process has ended.
  }
}

function setThreadNiceness(thread: number, nice: number): void {
  try {
    setPriority(thread, nice);
  } catch {
    // It has ended, or this machine does not let us: then it has what it has.
  }
}

function descendants(pid: number): number[] {
  const children = numbersIn(`/proc/${pid}/task`).flatMap((thread) =>
    wordsOf(`/proc/${pid}/task/${thread}/children`),
  );
  return [pid, ...children.flatMap(descendants)];
}

function processesOf(cgroupPath: string): number[] {
  return wordsOf(join(cgroupMount("freezer").directory, cgroupPath, "cgroup.procs"));
}

function wordsOf(file: string): number[] {
  try {
    return readFileSync(file, "utf8").split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function numbersIn(directory: string): number[] {
  try {
    return readdirSync(directory).map(Number);
  } catch {
    return [];
  }
}
