import { readdir, readFile } from "node:fs/promises";

export interface ProcessEntry {
  pid: number;
  parentPid: number;
  name: string;
  state: string;
}

/**
 * All processes that this one can see. Reads `stat` alone, which answers even for a process stuck
 * on a dead disk.
 */
export async function readProcesses(): Promise<ProcessEntry[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const entries = await Promise.all(
    names.map(async (name) => {
      const text = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
      return parseStat(text);
    }),
  );
  return entries.filter((entry) => entry !== null);
}

/** The second field is the program's name in brackets, which may hold anything, brackets and blanks too. */
export function parseStat(text: string): ProcessEntry | null {
  const match = /^(\d+) \((.*)\) (\S) (\d+) /s.exec(text);
  if (match === null) return null;
  return {
    pid: Number(match[1]),
    name: match[2] ?? "",
    state: match[3] ?? "",
    parentPid: Number(match[4]),
  };
}

/** The process and all below it. */
export function descendantsOf(rootPid: number, processes: readonly ProcessEntry[]): ProcessEntry[] {
  const found = new Set([rootPid]);
  // Parents do not always come first in the list, so it is gone through until nothing is added.
  for (let size = 0; size !== found.size;) {
    size = found.size;
    for (const entry of processes) if (found.has(entry.parentPid)) found.add(entry.pid);
  }
  return processes.filter((entry) => found.has(entry.pid));
}
