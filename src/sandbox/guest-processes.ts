/** A container's processes, looked at from the host. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Those of a process-id namespace, by their host ids. */
export function processesIn(namespace: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => readLink(`/proc/${pid}/ns/pid`) === namespace);
}

/** Null when it is not there, as when its process has ended. */
export function readLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

/**
 * Host ids of a container's processes, by their ids inside. Finding one means looking at all processes
 * of the machine, so what a look has seen is kept: a thousand commands that are signalled together cost
 * one. An id that is known is checked, since it may be another process's by now.
 */
export class HostPids {
  readonly #namespace: string;
  #known = new Map<number, number>();

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  /** Null when there is no such process. */
  find(pid: number): number | null {
    const known = this.#known.get(pid);
    if (known !== undefined && this.#isSame(known, pid)) return known;
    this.#known = new Map(
      processesIn(this.#namespace).flatMap((hostPid) => {
        const family = readFamily(hostPid);
        return family === null ? [] : [[family.pid, hostPid] as const];
      }),
    );
    return this.#known.get(pid) ?? null;
  }

  #isSame(hostPid: number, pid: number): boolean {
    if (readFamily(hostPid)?.pid !== pid) return false;
    return readLink(`/proc/${hostPid}/ns/pid`) === this.#namespace;
  }
}

export interface ProcessFamily {
  /** Host id of the parent. */
  parentHostPid: number;
  /** As the container counts. */
  pid: number;
  processGroup: number;
  session: number;
}

/** Null when the process has ended. */
export function readFamily(hostPid: number): ProcessFamily | null {
  let status: string;
  try {
    status = readFileSync(`/proc/${hostPid}/status`, "latin1");
  } catch {
    return null;
  }
  const last = (name: string): number => {
    const line = new RegExp(`^${name}:\\s*(.+)$`, "m").exec(status)?.[1];
    return Number(line?.trim().split(/\s+/).at(-1) ?? 0);
  };
  return {
    parentHostPid: last("PPid"),
    pid: last("NSpid"),
    processGroup: last("NSpgid"),
    session: last("NSsid"),
  };
}
