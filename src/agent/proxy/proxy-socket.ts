/** TCP tunnels into the sprite, one WebSocket each (contract.md section 9.1). */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";

import { SpriteError } from "../../contract/errors.ts";
import { execCloseCode } from "../../contract/exec-frames.ts";
import {
  encodeConnected,
  encodeNotConnected,
  endOfInputMessage,
  parseTunnelTarget,
  type TunnelTarget,
} from "../../contract/proxy.ts";
import type { OpenSocket, OpenSockets } from "../api/open-sockets.ts";
import type { UpgradeRoute } from "../api/route.ts";
import { closeSocket, type Upgrader } from "../api/web-socket.ts";
import { connectInside, TunnelError, type TunnelInside } from "./connect.ts";
import { firstMessageMsMax, leaveMsMax, tunnelMessageBytesMax } from "./limits.ts";
import { Relay } from "./relay.ts";

export interface ProxyParts extends TunnelInside {
  connections: { readonly tunnels: OpenSockets };
  upgrade: Upgrader;
}

export function proxyUpgradeRoutes(parts: ProxyParts): UpgradeRoute[] {
  return [
    {
      pattern: ["proxy"],
      handle: (context) => {
        parts.connections.tunnels.checkRoom();
        parts.upgrade(context, (socket) => new ProxySocket(parts, socket, context.socket), {
          messageBytesMax: tunnelMessageBytesMax,
        });
      },
    },
  ];
}

interface Message {
  bytes: Buffer;
  isBinary: boolean;
}

/** One tunnel: waits for its target, connects, and carries bytes until either side ends. */
class ProxySocket implements OpenSocket {
  readonly #parts: ProxyParts;
  readonly #socket: WebSocket;
  readonly #connection: Duplex;
  readonly #abort = new AbortController();
  readonly #firstMessage: NodeJS.Timeout;
  readonly #remove: () => void;
  #isNamed = false;
  #target: TunnelTarget | null = null;
  #relay: Relay | null = null;
  /** What came in one read with the first message: a pause holds back only what follows. */
  readonly #early: Message[] = [];

  constructor(parts: ProxyParts, socket: WebSocket, connection: Duplex) {
    this.#parts = parts;
    this.#socket = socket;
    this.#connection = connection;
    this.#remove = parts.connections.tunnels.add(this);
    this.#firstMessage = setTimeout(() => {
      closeSocket(socket, policyViolation, "no target was named in time");
    }, firstMessageMsMax);
    // Whatever goes wrong, the socket closes after it.
    socket.on("error", () => undefined);
    socket.on("message", (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    socket.once("close", () => {
      clearTimeout(this.#firstMessage);
      this.#abort.abort();
      // What the client sent still arrives; until then the tunnel is one.
      if (this.#relay === null) this.#remove();
      else this.#relay.leave(leaveMsMax);
    });
    connection.on("drain", () => this.#relay?.drained());
  }

  get queuedBytes(): number {
    return this.#connection.writableLength + (this.#relay?.queuedBytes ?? 0);
  }

  stop(reason: string): void {
    this.#abort.abort();
    this.#relay?.destroy();
    closeSocket(this.#socket, execCloseCode.goingAway, reason);
  }

  #onMessage(bytes: Buffer, isBinary: boolean): void {
    if (!this.#isNamed) {
      this.#isNamed = true;
      clearTimeout(this.#firstMessage);
      void this.#connect(isBinary ? "" : bytes.toString("utf8"));
      return;
    }
    if (this.#relay === null) this.#early.push({ bytes, isBinary });
    else this.#pass(this.#relay, { bytes, isBinary });
  }

  #pass(relay: Relay, { bytes, isBinary }: Message): void {
    if (isBinary) relay.write(bytes);
    else if (this.#target?.halfClose && bytes.toString("latin1") === endOfInputMessage) {
      relay.endInput();
    }
  }

  async #connect(text: string): Promise<void> {
    const socket = this.#socket;
    socket.pause();
    try {
      const target = parseTunnelTarget(text);
      this.#target = target;
      const connected = await connectInside(this.#parts, target, this.#abort.signal);
      if (socket.readyState !== socket.OPEN) {
        connected.destroy();
        return;
      }
      socket.send(encodeConnected(target));
      const relay = this.#join(connected, target);
      this.#relay = relay;
      for (const message of this.#early.splice(0)) this.#pass(relay, message);
    } catch (error) {
      this.#fail(error);
    }
    socket.resume();
  }

  #join(connected: Socket, target: TunnelTarget): Relay {
    const socket = this.#socket;
    const connection = this.#connection;
    return new Relay(connected, {
      get queuedBytes() {
        return connection.writableLength;
      },
      send: (bytes) => socket.send(bytes),
      setReading: (reads) => {
        if (!reads) socket.pause();
        else if (socket.isPaused) socket.resume();
      },
      targetEnded: () => {
        if (target.halfClose) socket.send(endOfInputMessage);
        else closeSocket(socket, execCloseCode.ended, "");
      },
      targetClosed: (error) => {
        this.#remove();
        if (error === null) closeSocket(socket, execCloseCode.ended, "");
        else closeSocket(socket, execCloseCode.internalFailure, "the connection broke off");
      },
    });
  }

  #fail(error: unknown): void {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return;
    const message = error instanceof Error ? error.message : "cannot connect";
    const isRefused = error instanceof SpriteError;
    const code = error instanceof TunnelError ? error.code : "invalid_request";
    socket.send(encodeNotConnected({ target: this.#target, code, error: message }));
    closeSocket(socket, isRefused ? policyViolation : execCloseCode.internalFailure, message);
  }
}

/** RFC 6455: the client did not keep to what was agreed. */
const policyViolation = 1008;
