/** Watching a sprite's ports (contract.md section 9.2). */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";

import { execCloseCode } from "../../contract/exec-frames.ts";
import { encodePortList, portNotice } from "../../contract/ports.ts";
import type { OpenSocket, OpenSockets } from "../api/open-sockets.ts";
import type { UpgradeRoute } from "../api/route.ts";
import { closeSocket, type Upgrader } from "../api/web-socket.ts";
import { watcherQueueBytesMax } from "./limits.ts";
import type { PortChanges } from "./port-table.ts";
import type { PortWatch, Watcher } from "./port-watch.ts";

export interface PortsParts {
  connections: { readonly watchers: OpenSockets; readonly portWatch: PortWatch };
  upgrade: Upgrader;
}

export function portsUpgradeRoutes(parts: PortsParts): UpgradeRoute[] {
  return [
    {
      pattern: ["ports", "watch"],
      handle: (context) => {
        parts.connections.watchers.checkRoom();
        parts.upgrade(context, (socket) => new PortsSocket(parts, socket, context.socket));
      },
    },
  ];
}

class PortsSocket implements OpenSocket, Watcher {
  readonly #socket: WebSocket;
  readonly #connection: Duplex;

  constructor(parts: PortsParts, socket: WebSocket, connection: Duplex) {
    this.#socket = socket;
    this.#connection = connection;
    const { watchers, portWatch } = parts.connections;
    const remove = watchers.add(this);
    // The list is sent before the first change can be.
    socket.send(encodePortList(portWatch.portsNow()));
    const unwatch = portWatch.watch(this);
    // Whatever goes wrong, the socket closes after it.
    socket.on("error", () => undefined);
    socket.once("close", () => {
      unwatch();
      remove();
    });
  }

  get queuedBytes(): number {
    return this.#connection.writableLength;
  }

  onChanges({ opened, closed }: PortChanges): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    for (const port of closed) this.#socket.send(JSON.stringify(portNotice("port_closed", port)));
    for (const port of opened) this.#socket.send(JSON.stringify(portNotice("port_opened", port)));
    if (this.queuedBytes <= watcherQueueBytesMax) return;
    closeSocket(this.#socket, execCloseCode.tooSlow, "too far behind the changes");
  }

  stop(reason: string): void {
    closeSocket(this.#socket, execCloseCode.goingAway, reason);
  }
}
