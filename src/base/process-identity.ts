import { readFileSync } from "node:fs";

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat (proc(5)). */
  startTime: string;
}

/** Null when there is no such process, or only its zombie. */
export function identifyProcess(pid: number): ProcessIdentity | null {
  const fields = readStat(pid);
  const state = fields?.[0];
  const startTime = fields?.[19];
  if (state === "Z" || state === "X" || startTime === undefined) return null;
  return { pid, startTime };
}

/** The process group that a process is in; null when there is no such process. */
export function processGroupOf(pid: number): number | null {
  const group = readStat(pid)?.[2];
  return group === undefined ? null : Number(group);
}

/** Fields 3 and on of /proc/PID/stat: behind the command's name, which may hold spaces and parentheses. */
function readStat(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTime === identity.startTime;
}

/** Signals exactly that process; a process that has ended, or another with its number, is left alone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch {
    // It ended in between, which is what the caller wants of it.
  }
}
