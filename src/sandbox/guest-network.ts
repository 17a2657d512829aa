/** What the outer world does in a sprite's own network. */
import { readFileSync } from "node:fs";
import type { ProcessIdentity } from "../base/process-identity.ts";
import { SpriteError } from "../contract/errors.ts";
import { HostError } from "../host/command.ts";
import { type ListeningSocket, listListeningSockets } from "../host/listening-sockets.ts";
import { openNamespaceSocket, socketFamily, socketType } from "../host/namespace-socket.ts";
import { findSocketOwners, type SocketOwner } from "./socket-owners.ts";

/** The network of one container, named by the container's first process. */
export class GuestNetwork {
  readonly #first: ProcessIdentity;

  /** Whose network it is. */
  get first(): ProcessIdentity {
    return this.#first;
  }

  constructor(first: ProcessIdentity) {
    this.#first = first;
  }

  /**
   * A TCP socket like one of a program inside, not connected yet: its packets come from the
   * sprite's address and meet the sprite's rules. The caller closes it.
   * @throws SpriteError unavailable
   */
  openStreamSocket(family: 4 | 6): number {
    try {
      return openNamespaceSocket(this.#first, {
        family: family === 4 ? socketFamily.ipv4 : socketFamily.ipv6,
        type: socketType.stream,
      });
    } catch (cause) {
      if (!(cause instanceof HostError)) throw cause;
      throw new SpriteError("unavailable", "the sprite's network is not there", { cause });
    }
  }

  /**
   * What listens on TCP ports inside; bounded, and without an order that means anything.
   * @throws HostError
   */
  listeningSockets(): ListeningSocket[] {
    return listListeningSockets(this.#first);
  }

  /** Bytes that left for elsewhere since the network was made; null when it is gone. */
  sentBytes(): number | null {
    try {
      const text = readFileSync(`/proc/${this.#first.pid}/net/dev`, "utf8");
      return [...text.matchAll(/^\s*(\S+):((?:\s+\d+)+)$/gm)]
        .filter(([, name]) => name !== "lo")
        .reduce((sum, [, , numbers = ""]) => sum + Number(numbers.trim().split(/\s+/)[8] ?? 0), 0);
    } catch {
      return null;
    }
  }

  /** Who holds these sockets, as far as can be seen with a bounded effort. */
  socketOwners(inodes: ReadonlySet<number>): Map<number, SocketOwner> {
    return findSocketOwners(this.#first, inodes);
  }
}
