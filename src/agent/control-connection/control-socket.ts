/** Control connections: one socket, one operation after another (contract.md section 4). */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";

import type { Log } from "../../base/log.ts";
import {
  encodeOpError,
  parseControlText,
  type ControlRequest,
} from "../../contract/control-frames.ts";
import { controlMessageBytesMax } from "../../contract/limits.ts";
import { execCloseCode, keepAliveFrame } from "../../contract/exec-frames.ts";
import { keepAliveIntervalMs, queuedFrameCostBytes } from "../api/limits.ts";
import type { OpenSocket, OpenSockets } from "../api/open-sockets.ts";
import type { UpgradeContext, UpgradeRoute } from "../api/route.ts";
import { closeSocket, type Upgrader } from "../api/web-socket.ts";
import { fileQueueBytesMax } from "./limits.ts";
import type { Operation, OperationLine } from "./operation.ts";
import { beginOperation, type OperationParts } from "./begin-operation.ts";

export interface ControlParts extends OperationParts {
  connections: { readonly controls: OpenSockets; readonly tunnels: OpenSockets };
  upgrade: Upgrader;
}

export function controlUpgradeRoutes(parts: ControlParts): UpgradeRoute[] {
  return [
    {
      pattern: ["control"],
      handle: (context) => {
        parts.connections.controls.checkRoom();
        parts.upgrade(context, (socket) => new ControlSocket(parts, socket, context).open(context));
      },
    },
  ];
}

type StartRequest = Extract<ControlRequest, { kind: "start" | "file" | "tunnel" }>;
type OperationMessage = Extract<ControlRequest, { kind: "session" | "release" }>;

class ControlSocket implements OpenSocket {
  readonly #parts: ControlParts;
  readonly #socket: WebSocket;
  readonly #connection: Duplex;
  readonly #log: Log;
  /** Go says that it is Go; its input has no stream ids. */
  readonly #isGo: boolean;
  readonly #keepAlive: NodeJS.Timeout;
  #turn: Turn | null = null;
  #queuedFrames = 0;
  /** False while a message is sent of which more is to come. */
  #isWhole = true;

  constructor(parts: ControlParts, socket: WebSocket, context: UpgradeContext) {
    this.#parts = parts;
    this.#socket = socket;
    this.#connection = context.socket;
    this.#log = context.log;
    this.#isGo = context.request.headers["user-agent"]?.startsWith("sprites-go-sdk") ?? false;
    this.#keepAlive = setInterval(() => this.#sendKeepAlive(), keepAliveIntervalMs);
    const remove = parts.connections.controls.add(this);
    // Whatever goes wrong, the socket closes after it.
    socket.on("error", () => undefined);
    socket.on("message", (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    socket.once("close", () => {
      clearInterval(this.#keepAlive);
      this.#release();
      remove();
    });
    this.#connection.on("drain", () => this.#turn?.operation?.drained());
  }

  /** An operation may be asked for in the address already. */
  open({ query }: UpgradeContext): void {
    const op = query.text("op");
    if (op !== null) this.#begin({ kind: "start", op, args: query.toArguments() });
  }

  get queuedBytes(): number {
    return this.#connection.writableLength + this.#queuedFrames * queuedFrameCostBytes;
  }

  stop(reason: string): void {
    this.#release();
    closeSocket(this.#socket, execCloseCode.goingAway, reason);
  }

  #onMessage(bytes: Buffer, isBinary: boolean): void {
    if (isBinary) {
      this.#turn?.push(bytes);
      return;
    }
    // One byte more than it takes is enough to see that there are too many.
    const request = parseControlText(bytes.toString("utf8", 0, controlMessageBytesMax + 1));
    switch (request?.kind) {
      case undefined:
        return;
      case "session":
      case "release":
        this.#turn?.control(request);
        return;
      case "malformed":
        // As any other beginning, it ends what was before.
        this.#release();
        this.#send(encodeOpError(request.reason));
        return;
      case "start":
      case "file":
      case "tunnel":
        this.#begin(request);
    }
  }

  /** A new operation takes the place of one that goes on, whose client has lost interest in it. */
  #begin(request: StartRequest): void {
    this.#release();
    const turn = new Turn({
      socket: this.#socket,
      queuedBytes: () => this.queuedBytes,
      send: (data, options) => this.#send(data, options),
      onDone: () => (this.#turn = null),
    });
    this.#turn = turn;
    // What follows waits in the network until there is somebody to take it.
    this.#socket.pause();
    beginOperation(this.#parts, { request, line: turn, isGo: this.#isGo, log: this.#log }).then(
      (operation) => turn.started(operation),
      (error: unknown) => {
        this.#log.error({ err: error }, "an operation could not be begun");
        turn.send(encodeOpError("internal error"));
        turn.done();
      },
    );
  }

  #release(): void {
    const turn = this.#turn;
    this.#turn = null;
    turn?.release();
    // The rest of a message that was begun will never come; what comes next would be taken for it.
    if (!this.#isWhole) closeSocket(this.#socket, execCloseCode.internalFailure, "superseded");
  }

  #send(data: string | Buffer, { isLast } = { isLast: true }): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#keepAlive.refresh();
    this.#queuedFrames += 1;
    this.#isWhole = isLast;
    this.#socket.send(data, { fin: isLast }, () => {
      this.#queuedFrames -= 1;
    });
  }

  /** Between operations clients need none, and may not expect any; within a message it would be a part of it. */
  #sendKeepAlive(): void {
    if (this.#isWhole && this.#turn?.operation && this.#connection.writableLength === 0)
      this.#send(keepAliveFrame);
  }
}

interface TurnParts {
  socket: WebSocket;
  queuedBytes: () => number;
  send: (data: string | Buffer, options?: { isLast: boolean }) => void;
  onDone: () => void;
}

/** The time of one operation on a control connection, from its message to its end. */
class Turn implements OperationLine {
  readonly #parts: TurnParts;
  readonly #abort = new AbortController();
  /** What came in one read with the operation's beginning: a pause holds back only what follows. */
  readonly #early: Array<Buffer | OperationMessage> = [];
  operation: Operation | null = null;
  #isOver = false;

  constructor(parts: TurnParts) {
    this.#parts = parts;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get queuedBytes(): number {
    return this.#parts.queuedBytes();
  }

  get isFull(): boolean {
    return this.queuedBytes > fileQueueBytesMax;
  }

  get isPaused(): boolean {
    return this.#parts.socket.isPaused;
  }

  pause(): void {
    if (!this.#isOver) this.#parts.socket.pause();
  }

  resume(): void {
    if (!this.#isOver) this.#parts.socket.resume();
  }

  send(data: string | Buffer, options?: { isLast: boolean }): void {
    if (!this.#isOver) this.#parts.send(data, options);
  }

  done(): void {
    if (this.#isOver) return;
    this.#end();
    this.#parts.onDone();
  }

  close(code: number, reason: string): void {
    if (this.#isOver) return;
    this.done();
    closeSocket(this.#parts.socket, code, reason);
  }

  /** Null when it has ended already, and its client was told. */
  started(operation: Operation | null): void {
    if (this.#isOver) {
      operation?.release();
      return;
    }
    if (operation === null) {
      this.done();
      return;
    }
    this.operation = operation;
    for (const early of this.#early.splice(0)) {
      if (Buffer.isBuffer(early)) operation.push(early);
      else operation.control(early);
    }
    if (!this.#isOver) this.resume();
  }

  push(frame: Buffer): void {
    if (this.operation === null) this.#early.push(frame);
    else this.operation.push(frame);
  }

  control(message: OperationMessage): void {
    if (this.operation === null) this.#early.push(message);
    else this.operation.control(message);
  }

  release(): void {
    if (this.#isOver) return;
    this.#end();
    this.operation?.release();
  }

  #end(): void {
    this.resume();
    this.#isOver = true;
    this.#abort.abort();
    this.#early.length = 0;
  }
}
