import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";

import {
  encodeExitFrame,
  encodeExitMessage,
  encodeOutputFrame,
  execCloseCode,
  execStream,
  keepAliveFrame,
  type OutputStream,
} from "../../contract/exec-frames.ts";
import type { SessionClient, SessionEnd } from "../sessions/session-client.ts";
import { keepAliveIntervalMs, queuedFrameCostBytes } from "./limits.ts";
import { closeSocket } from "./web-socket.ts";

/**
 * A WebSocket as a session's client: frames, keep-alive, and the ending of contract.md section 3.5.
 */
export class SocketClient implements SessionClient {
  readonly #socket: WebSocket;
  readonly #connection: Duplex;
  readonly #keepAlive: NodeJS.Timeout;
  #tty: boolean;
  #queuedFrames = 0;

  constructor(socket: WebSocket, connection: Duplex, options: { tty: boolean }) {
    this.#socket = socket;
    this.#connection = connection;
    this.#tty = options.tty;
    this.#keepAlive = setInterval(() => this.#sendKeepAlive(), keepAliveIntervalMs);
    // Whatever goes wrong, the socket closes after it.
    socket.on("error", () => undefined);
    socket.once("close", () => clearInterval(this.#keepAlive));
  }

  get queuedBytes(): number {
    return this.#connection.writableLength + this.#queuedFrames * queuedFrameCostBytes;
  }

  sendText(text: string): void {
    this.#send(text);
  }

  sendOutput(stream: OutputStream, bytes: Buffer): void {
    this.#send(this.#tty ? bytes : encodeOutputFrame(stream, bytes));
  }

  sendNotice(text: string): void {
    this.#send(text);
  }

  sendEnd(end: SessionEnd): void {
    clearInterval(this.#keepAlive);
    if (end.kind === "exited") {
      if (!this.#tty) this.#send(encodeExitFrame(end.code));
      this.#send(encodeExitMessage(end.code));
      closeSocket(this.#socket, this.#exitCloseCode(end.code), "");
      return;
    }
    const lineEnd = this.#tty ? "\r\n" : "\n";
    this.sendOutput(execStream.stderr, Buffer.from(`sprite: ${end.reason}${lineEnd}`));
    closeSocket(this.#socket, closeCodes[end.kind], end.reason);
  }

  #exitCloseCode(code: number): number {
    return this.#tty && code !== 0 ? execCloseCode.endedNonZero : execCloseCode.ended;
  }

  #send(data: string | Buffer): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#keepAlive.refresh();
    this.#queuedFrames += 1;
    this.#socket.send(data, () => {
      this.#queuedFrames -= 1;
    });
  }

  #sendKeepAlive(): void {
    // What is queued will arrive, and keeps the client as content as an empty frame.
    if (this.#connection.writableLength === 0) this.#send(keepAliveFrame);
  }
}

const closeCodes = {
  lost: execCloseCode.internalFailure,
  stopped: execCloseCode.goingAway,
  too_slow: execCloseCode.tooSlow,
} as const;
