import { WebSocket } from "ws";
import { execStream } from "../contract/exec-frames.ts";
import type { ApiClient, Query } from "./api-client.ts";
import { connectionSilenceMsMax, pingIntervalMs, queueHighBytes, queueLowBytes } from "./limits.ts";
import { accepted, connectWebSocket } from "./web-socket.ts";

/** How a command's frames are read: by stream id, or as raw terminal bytes (contract.md section 3). */
export type SessionMode = "pipe" | "terminal";

export interface SessionInfo {
  sessionId: string;
  isTerminal: boolean;
}

/** How the connection ended: with the command's exit code, or without anybody knowing it. */
export type SocketEnd =
  | { kind: "exited"; exitCode: number }
  | { kind: "lost"; closeCode: number; reason: string };

export interface SessionListener {
  onInfo(info: SessionInfo): void;
  onOutput(stream: "stdout" | "stderr", bytes: Uint8Array): void;
  /** Any other message, such as `port_opened`. */
  onMessage(message: Readonly<Record<string, unknown>>): void;
  /** Called once, after the last output. */
  onEnd(end: SocketEnd): void;
  /** The send queue is short again; called after `send` returned false. */
  onSendable(): void;
}

/** One exec or attach connection: frames in, frames out, life signs, and exactly one end. */
export class SessionSocket {
  readonly #socket: WebSocket;
  readonly #listener: SessionListener;
  #mode: SessionMode | null;
  #isEnded = false;
  #isPaused = false;
  #isSendBlocked = false;
  #lastSeenMs = performance.now();
  readonly #pinger: NodeJS.Timeout;

  /** Resolves when the server has accepted; a refusal is thrown with the server's own words. */
  static async open(options: {
    client: ApiClient;
    path: string;
    query: Query;
    /** Null when attaching: the session's own mode arrives with `session_info`. */
    mode: SessionMode | null;
    listener: SessionListener;
  }): Promise<SessionSocket> {
    const { client } = options;
    const socket = connectWebSocket(client, options.path, options.query);
    // Made before the handshake ends: the first frames may arrive together with its answer.
    const session = new SessionSocket(socket, options.mode, options.listener);
    await accepted(socket, client).catch((error: unknown) => {
      session.#stop();
      throw error;
    });
    return session;
  }

  private constructor(socket: WebSocket, mode: SessionMode | null, listener: SessionListener) {
    this.#socket = socket;
    this.#mode = mode;
    this.#listener = listener;
    socket.on("message", (data, isBinary) => {
      this.#lastSeenMs = performance.now();
      // `ws` hands out one Buffer a message unless told otherwise.
      const bytes = data as Buffer;
      if (isBinary) this.#onBytes(bytes);
      else this.#onText(bytes.toString("utf8"));
    });
    socket.on("pong", () => {
      this.#lastSeenMs = performance.now();
    });
    // After the handshake an error is always followed by `close`, which tells the end.
    socket.on("error", () => {});
    socket.on("close", (closeCode, reason) => {
      this.#end({ kind: "lost", closeCode, reason: reason.toString("utf8") });
    });
    this.#pinger = setInterval(() => this.#checkLife(), pingIntervalMs);
  }

  /** Sends stdin; false asks the caller to wait for `onSendable`. */
  send(bytes: Uint8Array): boolean {
    if (this.#mode === "terminal") return this.#sendFrame(bytes);
    const frame = Buffer.allocUnsafe(bytes.byteLength + 1);
    frame[0] = execStream.stdin;
    frame.set(bytes, 1);
    return this.#sendFrame(frame);
  }

  /** Tells the command that stdin has ended; at a terminal that is what Ctrl+D types. */
  sendStdinEnd(): void {
    this.#sendFrame(Uint8Array.of(execStream.stdinEnd));
  }

  sendSignal(signal: string): void {
    this.#sendText({ type: "signal", signal });
  }

  sendResize(size: { cols: number; rows: number }): void {
    this.#sendText({ type: "resize", cols: size.cols, rows: size.rows });
  }

  /** Stops reading, so that the server and the command slow down to our own reader's pace. */
  pause(): void {
    if (this.#isPaused || this.#socket.readyState !== WebSocket.OPEN) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#lastSeenMs = performance.now();
    this.#socket.resume();
  }

  /** Leaves; a session that outlives its connection goes on. Resolves when the close was sent. */
  async close(): Promise<void> {
    this.#stop();
    this.resume();
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#socket.close(1000);
    const timer = setTimeout(() => this.#socket.terminate(), 500);
    await closed;
    clearTimeout(timer);
  }

  #sendFrame(bytes: Uint8Array): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return true;
    this.#socket.send(bytes, { binary: true }, () => this.#afterSend());
    this.#isSendBlocked ||= this.#socket.bufferedAmount > queueHighBytes;
    return !this.#isSendBlocked;
  }

  #sendText(message: Record<string, unknown>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #afterSend(): void {
    if (!this.#isSendBlocked || this.#socket.bufferedAmount > queueLowBytes) return;
    this.#isSendBlocked = false;
    this.#listener.onSendable();
  }

  #onBytes(bytes: Buffer): void {
    if (this.#isEnded || bytes.byteLength === 0) return;
    if (this.#mode === "terminal") {
      this.#listener.onOutput("stdout", bytes);
      return;
    }
    const payload = bytes.subarray(1);
    if (bytes[0] === execStream.stdout) this.#listener.onOutput("stdout", payload);
    else if (bytes[0] === execStream.stderr) this.#listener.onOutput("stderr", payload);
    else if (bytes[0] === execStream.exit && payload.byteLength > 0) {
      this.#end({ kind: "exited", exitCode: payload[0] ?? 1 });
    }
  }

  #onText(text: string): void {
    if (this.#isEnded) return;
    const message = parseMessage(text);
    if (message["type"] === "session_info") {
      const isTerminal = message["tty"] === true;
      this.#mode = isTerminal ? "terminal" : "pipe";
      const id = message["session_id"];
      const sessionId = typeof id === "string" || typeof id === "number" ? String(id) : "";
      this.#listener.onInfo({ sessionId, isTerminal });
    } else if (message["type"] === "exit") {
      const code = message["exit_code"] ?? message["code"];
      if (typeof code === "number") this.#end({ kind: "exited", exitCode: code & 0xff });
    } else this.#listener.onMessage(message);
  }

  #end(end: SocketEnd): void {
    if (this.#isEnded) return;
    this.#stop();
    this.#listener.onEnd(end);
  }

  #stop(): void {
    this.#isEnded = true;
    clearInterval(this.#pinger);
  }

  #checkLife(): void {
    if (this.#socket.readyState !== WebSocket.OPEN || this.#isPaused) return;
    if (performance.now() - this.#lastSeenMs > connectionSilenceMsMax) {
      this.#socket.terminate();
      return;
    }
    this.#socket.ping();
  }
}

function parseMessage(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // Text that is not JSON carries nothing for this client.
    return {};
  }
}
