import { readFileSync, readlinkSync } from "node:fs";

import { must } from "../../base/assert.ts";
import { errorCode } from "../../base/error-code.ts";
import type { Log } from "../../base/log.ts";
import { processGroupOf } from "../../base/process-identity.ts";
import { HostPids, processesIn, readLink } from "../guest-processes.ts";
import { relationsAgeMsMax } from "./limits.ts";
import { hasListener } from "./listening.ts";

/**
 * Signals process groups of the container from the host, since only the host may signal a command
 * that became root inside. The host's process id is looked up at the moment it is needed, among the
 * processes of the container's process-id namespace.
 */
export class ProcessGroups {
  readonly #log: Log;
  #initPid = 0;
  #namespace: string | null = null;
  #hostPids: HostPids | null = null;
  #seen: { relations: readonly Relations[]; atMs: number } | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Learns the container by its first process. */
  connect(initPid: number): void {
    this.#initPid = initPid;
    this.#namespace = readlinkSync(`/proc/${this.#initPid}/ns/pid`);
    this.#hostPids = new HostPids(this.#namespace);
  }

  /** A path inside the container, as the container's first process sees it. */
  insidePath(path: string): string {
    return `/proc/${this.#initPid}/root/${path}`;
  }

  /** Whether anybody inside accepts connections at a TCP port. */
  isListening(port: number): boolean {
    return ["tcp", "tcp6"].some((table) =>
      hasListener(`/proc/${this.#initPid}/net/${table}`, port),
    );
  }

  /** Signals a command that has not ended. */
  signal(pid: number, signal: NodeJS.Signals): void {
    const hostPid = this.#knownHostPids.find(pid);
    if (hostPid !== null) this.#signalHost(hostPid, signal);
  }

  /** Signals one process, and not its group. */
  signalOne(pid: number, signal: NodeJS.Signals): void {
    const hostPid = this.#knownHostPids.find(pid);
    if (hostPid !== null) this.#send(hostPid, signal);
  }

  /**
   * Signals those processes, everything in the sessions that they lead or led, and all descendants of
   * these. The container's first process is nobody's family. The number of processes there were a few
   * milliseconds ago: whoever wants none left asks until it is 0.
   */
  signalFamily(pids: readonly number[], signal: NodeJS.Signals | 0): number {
    const members = familyOf(this.#relations(), pids);
    for (const hostPid of members) this.#send(hostPid, signal);
    return members.length;
  }

  /**
   * Ends commands that were begun when their agent died, before it had written down anything of them:
   * nobody knows of them, and what they write would fill their FIFOs. Who waits for one holds its
   * status FIFO as descriptor 9 (shell-text.ts).
   */
  endUnknown(slots: ReadonlySet<number>): void {
    for (const pid of processesIn(this.#knownNamespace)) {
      const slot = /\/([0-9]+)\.status(?: \(deleted\))?$/.exec(
        readLink(`/proc/${pid}/fd/9`) ?? "",
      )?.[1];
      if (slot === undefined || slots.has(Number(slot))) continue;
      this.#log.warn({ slot: Number(slot) }, "a command that its agent had just begun is ended");
      for (const child of childrenOf(pid)) this.#signalHost(child, "SIGKILL");
    }
  }

  /** A look at all processes of the machine costs milliseconds: those who ask together share one. */
  #relations(): readonly Relations[] {
    const nowMs = performance.now();
    if (this.#seen === null || nowMs - this.#seen.atMs > relationsAgeMsMax) {
      const relations = processesIn(this.#knownNamespace).flatMap(readRelations);
      this.#seen = { relations, atMs: performance.now() };
    }
    return this.#seen.relations;
  }

  get #knownHostPids(): HostPids {
    return must(this.#hostPids, "the container is known before a command runs in it");
  }

  get #knownNamespace(): string {
    return must(this.#namespace, "the container is known before a command runs in it");
  }

  #signalHost(hostPid: number, signal: NodeJS.Signals): void {
    this.#send(processGroupOf(hostPid) === hostPid ? -hostPid : hostPid, signal);
  }

  #send(target: number, signal: NodeJS.Signals | 0): void {
    try {
      process.kill(target, signal);
    } catch (error) {
      // ESRCH: it has ended since.
      if (errorCode(error) === "ESRCH") return;
      this.#log.warn({ err: error, signal }, "cannot signal a command");
    }
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

export interface Relations {
  hostPid: number;
  parentHostPid: number;
  /** In the container's own process-id namespace. */
  pid: number;
  session: number;
}

/** Empty when the process has ended, reaped or not. */
function readRelations(hostPid: number): Relations[] {
  try {
    const status = readFileSync(`/proc/${hostPid}/status`, "latin1");
    if (/^State:\s*[ZX]/m.test(status)) return [];
    const parentHostPid = Number(/^PPid:\s*([0-9]+)$/m.exec(status)?.[1] ?? 0);
    const pid = innermostId(status) ?? 0;
    return [{ hostPid, parentHostPid, pid, session: innermostId(status, "NSsid") ?? 0 }];
  } catch {
    return [];
  }
}

/** Host ids of a family, as `signalFamily` means it. */
export function familyOf(processes: readonly Relations[], pids: readonly number[]): number[] {
  const members = new Set<number>();
  const others = processes.filter(({ pid }) => pid > 1);
  for (let found = -1; found < members.size;) {
    found = members.size;
    for (const { hostPid, parentHostPid, pid, session } of others) {
      if (pids.includes(pid) || pids.includes(session) || members.has(parentHostPid)) {
        members.add(hostPid);
      }
    }
  }
  return [...members];
}

/** The last of the ids that a process, or its session, has in the nested namespaces. */
function innermostId(status: string, field: "NSpid" | "NSsid" = "NSpid"): number | null {
  const line = new RegExp(`^${field}:\\s*(.+)$`, "m").exec(status);
  const last = line?.[1]?.trim().split(/\s+/).at(-1);
  return last === undefined ? null : Number(last);
}
