import { readFileSync, readdirSync, readlinkSync } from "node:fs";

import { assert } from "../../base/assert.ts";
import { errorCode } from "../../base/error-code.ts";
import type { Log } from "../../base/log.ts";
import { processGroupOf } from "../../base/process-identity.ts";

/**
 * Signals process groups of the container from the host, since only the host may signal a command
 * that became root inside. The host's process id is looked up at the moment it is needed, among the
 * processes of the container's process-id namespace.
 */
export class ProcessGroups {
  readonly #log: Log;
  #initPid = 0;
  #namespace: string | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Learns the container by its first process. */
  connect(initPid: number): void {
    this.#initPid = initPid;
    this.#namespace = readlinkSync(`/proc/${this.#initPid}/ns/pid`);
  }

  /** A path inside the container, as the container's first process sees it. */
  insidePath(path: string): string {
    return `/proc/${this.#initPid}/root/${path}`;
  }

  /** Signals a command that has not ended. */
  signal(pid: number, signal: NodeJS.Signals): void {
    assert(this.#namespace !== null, "the container is known before a command runs in it");
    const hostPid = findHostProcess(this.#namespace, pid);
    if (hostPid === null) return;
    try {
      process.kill(processGroupOf(hostPid) === hostPid ? -hostPid : hostPid, signal);
    } catch (error) {
      // ESRCH: it has ended since.
      if (errorCode(error) === "ESRCH") return;
      this.#log.warn({ err: error, signal }, "cannot signal a command");
    }
  }
}

/** The host's id of a process, by the id it has in its own process-id namespace. */
function findHostProcess(namespace: string, pid: number): number | null {
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      if (readlinkSync(`/proc/${name}/ns/pid`) !== namespace) continue;
      const status = readFileSync(`/proc/${name}/status`, "latin1");
      if (innermostId(status) === pid) return Number(name);
    } catch {
      // The process ended while we looked, so it is not the one.
    }
  }
  return null;
}

/** The last of the ids that a process has in the nested namespaces. */
function innermostId(status: string): number | null {
  const line = /^NSpid:\s*(.+)$/m.exec(status);
  const last = line?.[1]?.trim().split(/\s+/).at(-1);
  return last === undefined ? null : Number(last);
}
