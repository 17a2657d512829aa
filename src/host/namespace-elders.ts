import { readdirSync, readFileSync, readlinkSync } from "node:fs";

import { identifyProcess, type ProcessIdentity } from "../base/process-identity.ts";
import { must } from "../base/assert.ts";

export interface NamespaceElder {
  identity: ProcessIdentity;
  commandLine: readonly string[];
}

/**
 * Processes in this one's mount namespace that were there before it: what a dead process that it
 * takes over from has left running, and what may still change mounts.
 */
export function namespaceElders(): NamespaceElder[] {
  const namespace = readlinkSync("/proc/self/ns/mnt");
  const self = must(identifyProcess(process.pid), "this process is there");
  const elders: NamespaceElder[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (readlinkSync(`/proc/${name}/ns/mnt`) !== namespace) continue;
      const identity = identifyProcess(Number(name));
      // Our own children come many ticks of that clock later.
      if (identity === null || BigInt(identity.startTime) > BigInt(self.startTime)) continue;
      const commandLine = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      elders.push({ identity, commandLine });
    } catch {
      // It has ended.
    }
  }
  return elders;
}
