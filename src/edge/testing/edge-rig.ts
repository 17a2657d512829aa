/** An edge on loopback whose sprites are servers of this process. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

import { createLog } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { UrlEnd } from "../../contract/url-lease.ts";
import { Edge } from "../edge.ts";
import type { Gatekeeper } from "../gatekeeper.ts";
import type { InsidePort } from "../sprites.ts";
import { createTestAuthority } from "./test-authority.ts";

export const testDomain = "sprites.localhost";
export const webHost = `web-b7k2.${testDomain}`;

export interface EdgeRig extends AsyncDisposable {
  port: number;
  authorityPem: string;
  inside: FakeInside;
  notes: { requests: number; connections: number }[];
}

/** The web server of the sprite `web`. */
export class FakeInside {
  port: number | null;
  asks = 0;
  connections = 0;
  /** Each look waits for it. */
  gate: Promise<void> = Promise.resolve();
  readonly #open = new Set<InsideLease>();

  constructor(port: number | null) {
    this.port = port;
  }

  open(onNote: (note: { requests: number; connections: number }) => void): InsidePort {
    const lease = new InsideLease(this, onNote, () => this.#open.delete(lease));
    this.#open.add(lease);
    return lease;
  }

  end(end: UrlEnd): void {
    for (const lease of [...this.#open]) lease.end(end);
  }
}

class InsideLease implements InsidePort {
  isOpen = true;
  readonly #inside: FakeInside;
  readonly #onClosed: () => void;
  readonly #sockets = new Set<Socket>();
  #listener: (end: UrlEnd) => void = () => undefined;
  readonly noteBusy: InsidePort["noteBusy"];

  constructor(inside: FakeInside, onNote: InsidePort["noteBusy"], onClosed: () => void) {
    this.#inside = inside;
    this.noteBusy = onNote;
    this.#onClosed = onClosed;
  }

  async ready(): Promise<number> {
    this.#inside.asks += 1;
    await this.#inside.gate;
    if (this.#inside.port !== null) return this.#inside.port;
    throw new SpriteError("nothing_listening", "nothing listens at port 8080");
  }

  async connect(port: number): Promise<Socket> {
    this.#inside.connections += 1;
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
    await once(socket, "connect");
    this.#sockets.add(socket);
    return socket;
  }

  onEnd(listener: (end: UrlEnd) => void): void {
    this.#listener = listener;
  }

  end(end: UrlEnd): void {
    if (end.end === "ended") this.isOpen = false;
    this.#listener(end);
    for (const socket of this.#sockets) socket.destroy();
    if (end.end === "ended") this.#onClosed();
  }

  close(): void {
    this.end({ end: "ended", reason: "closed" });
  }
}

export const everybody: Gatekeeper = {
  admit: () => ({ admitted: true, strip: { authorization: false, cookies: [] } }),
};

export async function startEdgeRig(options: {
  insidePort: number | null;
  gatekeeper?: Gatekeeper;
  onApi?: (socket: Socket) => void;
  headersTimeoutMs?: number;
}): Promise<EdgeRig> {
  const { authorityPem, certificates } = await createTestAuthority(testDomain);
  const inside = new FakeInside(options.insidePort);
  const notes: EdgeRig["notes"] = [];
  const sprite = {
    ...{ id: "sprite-1", name: "web", organizationSlug: "acme" },
    urlSettings: { auth: "public" as const },
  };
  const edge = new Edge({
    listen: { host: "127.0.0.1", port: 0 },
    domain: testDomain,
    certificates,
    gatekeeper: options.gatekeeper ?? everybody,
    sprites: {
      find: (name, id) => (name === "web" && id === "b7k2" ? sprite : null),
      open: async () => inside.open((note) => notes.push(note)),
    },
    serveApi: (socket) => (options.onApi ?? ((unwanted) => unwanted.destroy()))(socket),
    log: createLog({ level: "silent", room: "edge" }),
    ...(options.headersTimeoutMs === undefined
      ? {}
      : { headersTimeoutMs: options.headersTimeoutMs }),
  });
  const { port } = await edge.start();
  return {
    ...{ port, authorityPem, inside, notes },
    [Symbol.asyncDispose]: async () => await edge.stop(),
  };
}
