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
