import { readdirSync } from "node:fs";

import type { ProcessIdentity } from "../base/process-identity.ts";
import { processesIn, type ProcessFamily, readFamily, readLink } from "./guest-processes.ts";
import { ancestorsMax, socketOwnerLooksMax } from "./limits.ts";

export interface SocketOwner {
  /** As the container counts. */
  pid: number;
  /**
   * The process, its ancestors, its session and its process group, nearest first: the commands that
   * it may belong to. A daemon that has left its parents may still be in their session.
   */
  lineage: readonly number[];
}

/**
 * Of several processes that hold a socket the one with the lowest id counts, which made it as a rule.
 * A guest decides how many descriptors there are, and we how many we look at.
 */
export function findSocketOwners(
  first: ProcessIdentity,
  inodes: ReadonlySet<number>,
): Map<number, SocketOwner> {
  const owners = new Map<number, SocketOwner>();
  const namespace = readLink(`/proc/${first.pid}/ns/pid`);
  if (namespace === null) return owners;
  let looks = 0;
  const wanted = new Set(inodes);
  for (const hostPid of processesIn(namespace).toSorted((a, b) => a - b)) {
    const held = new Set<number>();
    for (const descriptor of descriptorsOf(hostPid)) {
      if (wanted.size === 0 || looks >= socketOwnerLooksMax) break;
      looks += 1;
      const inode = socketInode(readLink(`/proc/${hostPid}/fd/${descriptor}`));
      if (inode !== null && wanted.delete(inode)) held.add(inode);
    }
    const owner = held.size === 0 ? null : describe(hostPid);
    if (owner !== null) for (const inode of held) owners.set(inode, owner);
    if (wanted.size === 0 || looks >= socketOwnerLooksMax) break;
  }
  return owners;
}

function descriptorsOf(hostPid: number): string[] {
  try {
    return readdirSync(`/proc/${hostPid}/fd`);
  } catch {
    return [];
  }
}

function socketInode(link: string | null): number | null {
  const digits = /^socket:\[([0-9]+)\]$/.exec(link ?? "")?.[1];
  return digits === undefined ? null : Number(digits);
}

function describe(hostPid: number): SocketOwner | null {
  const self = readFamily(hostPid);
  if (self === null) return null;
  const lineage = [self.pid];
  let family: ProcessFamily | null = self;
  for (let n = 0; n < ancestorsMax && family !== null && family.pid > 1; n += 1) {
    family = readFamily(family.parentHostPid);
    if (family !== null) lineage.push(family.pid);
  }
  lineage.push(self.session, self.processGroup);
  return { pid: self.pid, lineage: lineage.filter((pid) => pid > 1) };
}
