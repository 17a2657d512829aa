/** TCP tunnels into the sprite, one WebSocket each (contract.md section 9.1). */
import type { Socket } from "node:net";

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
import type { UpgradeContext, UpgradeRoute } from "../api/route.ts";
import type { Upgrader } from "../api/web-socket.ts";
import { ByteSocket } from "./byte-socket.ts";
import { connectInside, TunnelError, type TunnelInside } from "./connect.ts";
import { firstMessageMsMax, leaveMsMax } from "./limits.ts";
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
        const onHeard = parts.upgrade.accept(context);
        new ProxySocket(parts, context, onHeard).open();
      },
    },
  ];
}

/** One tunnel: waits for its target, connects, and carries bytes until either side ends. */
class ProxySocket implements OpenSocket {
  readonly #parts: ProxyParts;
  readonly #socket: ByteSocket;
  readonly #onHeard: () => void;
  readonly #abort = new AbortController();
  readonly #firstMessage: NodeJS.Timeout;
  #remove = (): void => {};
  #isNamed = false;
  #target: TunnelTarget | null = null;
  #relay: Relay | null = null;
  /** What came in one read with the first message: a pause holds back only what follows. */
  readonly #early: Array<Buffer | string | null> = [];

  /** @param onHeard called when the client has sent something: whom it is for may be suspended */
  constructor(parts: ProxyParts, { socket, head }: UpgradeContext, onHeard: () => void) {
    this.#parts = parts;
    this.#onHeard = onHeard;
    this.#socket = new ByteSocket(socket, head, {
      onText: (text) => this.#onMessage(text),
      onBytes: (bytes) => this.#onMessage(bytes),
      onDrain: () => this.#relay?.drained(),
      onClosed: () => this.#onClosed(),
    });
    this.#firstMessage = setTimeout(() => {
      this.#socket.close(policyViolation, "no target was named in time");
    }, firstMessageMsMax);
  }

  /** From now on it counts. */
  open(): void {
    this.#remove = this.#parts.connections.tunnels.add(this);
  }

  get queuedBytes(): number {
    return this.#socket.queuedBytes + (this.#relay?.queuedBytes ?? 0);
  }

  stop(reason: string): void {
    this.#abort.abort();
    this.#relay?.destroy();
    this.#socket.close(execCloseCode.goingAway, reason);
  }

  #onClosed(): void {
    clearTimeout(this.#firstMessage);
    this.#abort.abort();
    // What the client sent still arrives; until then the tunnel is one.
    if (this.#relay === null) this.#remove();
    else this.#relay.leave(leaveMsMax);
  }

  #onMessage(message: Buffer | string | null): void {
    this.#onHeard();
    if (!this.#isNamed) {
      this.#isNamed = true;
      clearTimeout(this.#firstMessage);
      void this.#connect(typeof message === "string" ? message : "");
      return;
    }
    if (this.#relay !== null) this.#pass(this.#relay, message);
    // Behind a refusal nothing is kept of what a client goes on to send.
    else if (this.#socket.isOpen) this.#early.push(message);
  }

  #pass(relay: Relay, message: Buffer | string | null): void {
    if (Buffer.isBuffer(message)) relay.write(message);
    else if (this.#target?.halfClose && message === endOfInputMessage) relay.endInput();
  }

  async #connect(text: string): Promise<void> {
    const socket = this.#socket;
    socket.setReading(false);
    try {
      const target = parseTunnelTarget(text);
      this.#target = target;
      const connected = await connectInside(this.#parts, target, this.#abort.signal);
      if (!socket.isOpen) {
        connected.destroy();
        return;
      }
      socket.sendText(encodeConnected(target));
      const relay = this.#join(connected, target);
      this.#relay = relay;
      for (const message of this.#early.splice(0)) this.#pass(relay, message);
    } catch (error) {
      this.#fail(error);
    }
    socket.setReading(true);
  }

  #join(connected: Socket, target: TunnelTarget): Relay {
    const socket = this.#socket;
    return new Relay(connected, {
      get queuedBytes() {
        return socket.queuedBytes;
      },
      send: (bytes) => socket.sendBytes(bytes),
      setReading: (reads) => socket.setReading(reads),
      targetEnded: () => {
        if (target.halfClose) socket.sendText(endOfInputMessage);
        else socket.close(execCloseCode.ended, "");
      },
      targetClosed: (error) => {
        this.#remove();
        if (error === null) socket.close(execCloseCode.ended, "");
        else socket.close(execCloseCode.internalFailure, "the connection broke off");
      },
    });
  }

  #fail(error: unknown): void {
    const message = error instanceof Error ? error.message : "cannot connect";
    const isRefused = error instanceof SpriteError;
    const code = error instanceof TunnelError ? error.code : "invalid_request";
    this.#socket.sendText(encodeNotConnected({ target: this.#target, code, error: message }));
    this.#socket.close(isRefused ? policyViolation : execCloseCode.internalFailure, message);
  }
}

/** RFC 6455: the client did not keep to what was agreed. */
const policyViolation = 1008;
