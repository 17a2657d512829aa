import type { ListeningSocket } from "../../host/listening-sockets.ts";
import type { SocketOwner } from "../../sandbox/socket-owners.ts";
import { ownerLooksMax } from "./limits.ts";

export interface WatchedPort {
  port: number;
  address: string;
  /** 0 when it is not known. */
  pid: number;
  /** The commands that it may belong to, nearest first. */
  lineage: readonly number[];
}

export interface PortChanges {
  opened: WatchedPort[];
  closed: WatchedPort[];
}

interface Entry {
  inode: number;
  port: WatchedPort;
  /** Looks that found no owner. */
  ownerlessLooks: number;
  isTold: boolean;
}

/** What listens, from one look to the next. Several sockets on one address and port are one. */
export class PortTable {
  #entries = new Map<string, Entry>();

  /** Those that were told as opened, and not yet as closed. */
  ports(): WatchedPort[] {
    return [...this.#entries.values()].filter(({ isTold }) => isTold).map(({ port }) => port);
  }

  /**
   * Takes what listens now. A port that a new socket has taken over between two looks was closed and
   * opened again. `findOwners` is asked only for sockets that are new.
   */
  update(
    listening: readonly ListeningSocket[],
    findOwners: (inodes: ReadonlySet<number>) => ReadonlyMap<number, SocketOwner>,
  ): PortChanges {
    const changes: PortChanges = { opened: [], closed: [] };
    const next = new Map<string, Entry>();
    for (const [key, sockets] of byAddress(listening)) {
      const before = this.#entries.get(key);
      const same = sockets.find(({ inode }) => inode === before?.inode);
      const [first] = sockets;
      if (before !== undefined && same !== undefined) next.set(key, before);
      else if (first !== undefined) next.set(key, newEntry(first));
    }
    for (const [key, entry] of this.#entries) {
      if (entry.isTold && next.get(key) !== entry) changes.closed.push(entry.port);
    }
    this.#entries = next;
    changes.opened = this.#tell(findOwners);
    return changes;
  }

  #tell(findOwners: (inodes: ReadonlySet<number>) => ReadonlyMap<number, SocketOwner>) {
    const untold = [...this.#entries.values()].filter(({ isTold }) => !isTold);
    if (untold.length === 0) return [];
    const owners = findOwners(new Set(untold.map(({ inode }) => inode)));
    const opened: WatchedPort[] = [];
    for (const entry of untold) {
      const owner = owners.get(entry.inode);
      if (owner === undefined) {
        entry.ownerlessLooks += 1;
        // Its process may just be starting another, or have ended.
        if (entry.ownerlessLooks < ownerLooksMax) continue;
      } else {
        entry.port = { ...entry.port, pid: owner.pid, lineage: owner.lineage };
      }
      entry.isTold = true;
      opened.push(entry.port);
    }
    return opened;
  }
}

function byAddress(listening: readonly ListeningSocket[]): Map<string, ListeningSocket[]> {
  const grouped = new Map<string, ListeningSocket[]>();
  for (const socket of listening) {
    const key = `${socket.port} ${socket.address}`;
    const group = grouped.get(key);
    if (group === undefined) grouped.set(key, [socket]);
    else group.push(socket);
  }
  return grouped;
}

function newEntry({ inode, port, address }: ListeningSocket): Entry {
  return { inode, port: { port, address, pid: 0, lineage: [] }, ownerlessLooks: 0, isTold: false };
}
