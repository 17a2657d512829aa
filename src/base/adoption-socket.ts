/** Where a process that has outlived its server waits for the next one (contract/adoption.ts). */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";

import type { AdoptionOffer } from "../contract/adoption.ts";
import { readJsonLines } from "./json-lines.ts";

/** The servers that may look at once; one comes, as a rule. */
const connectionsMax = 4;
const commandBytesMax = 4_096;
/** What one that does not read may leave lying here. */
const unreadBytesMax = 2 ** 20;

/** Whoever commands: the end of what it sends is its own. */
export interface ServerLink {
  /** A whole line. */
  send(line: string): void;
  end(): void;
}

interface AdoptionSocketOptions {
  offer: () => AdoptionOffer;
  onCommand: (command: unknown, from: ServerLink) => void;
  onGone: (server: ServerLink) => void;
}

export class AdoptionSocket {
  readonly #options: AdoptionSocketOptions;
  readonly #server: Server;
  readonly #links = new Set<ServerLink>();

  constructor(options: AdoptionSocketOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = connectionsMax;
  }

  /** In a directory that only root passes. One that a dead process left there is replaced. */
  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    this.#server.listen({ path });
    await once(this.#server, "listening");
    this.#server.on("error", () => undefined);
  }

  /** It is about to end, and nobody's to adopt; whoever has is told to the end. */
  close(): void {
    this.#server.close();
  }

  /** All that look on, but for the one that was told. */
  tellOthers(line: string, told: ServerLink | null): void {
    for (const link of this.#links) if (link !== told) link.send(line);
  }

  #serve(socket: Socket): void {
    const link: ServerLink = {
      send: (line) => {
        if (socket.writableLength > unreadBytesMax) socket.destroy();
        else if (socket.writable) socket.write(line);
      },
      end: () => socket.destroy(),
    };
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#links.delete(link);
      this.#options.onGone(link);
    });
    readJsonLines(socket, {
      lineBytesMax: commandBytesMax,
      onValue: (value) => {
        if (typeof value === "object" && value !== null) this.#options.onCommand(value, link);
      },
      onOther: () => socket.destroy(),
    });
    link.send(`${JSON.stringify(this.#options.offer())}\n`);
    this.#links.add(link);
  }
}
