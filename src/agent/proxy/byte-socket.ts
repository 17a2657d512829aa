import type { Duplex } from "node:stream";

import { closeMsMax } from "./limits.ts";
import { FrameError, FrameReader } from "./frame-reader.ts";
import { closePayload, frameHeader } from "./frame-writer.ts";

export interface ByteSocketHandlers {
  onText(text: string | null): void;
  onBytes(bytes: Buffer): void;
  onDrain(): void;
  /** The connection is gone, in whatever way. Nothing comes behind it. */
  onClosed(): void;
}

/** The server's end of a WebSocket that carries a stream of bytes. The handshake is done already. */
export class ByteSocket {
  readonly #connection: Duplex;
  readonly #reader: FrameReader;
  #isClosing = false;
  #hasClientClosed = false;

  constructor(connection: Duplex, head: Buffer, handlers: ByteSocketHandlers) {
    this.#connection = connection;
    this.#reader = new FrameReader({
      onText: (text) => handlers.onText(text),
      onBytes: (bytes) => handlers.onBytes(bytes),
      onPing: (payload) => this.#onPing(payload),
      onClose: (code) => this.#onClose(code),
    });
    // What came behind the handshake, first.
    if (head.length > 0) connection.unshift(head);
    // Whatever goes wrong, the connection closes after it.
    connection.on("error", () => connection.destroy());
    connection.on("data", (chunk: Buffer) => this.#onData(chunk));
    connection.on("drain", () => handlers.onDrain());
    connection.once("end", () => connection.end());
    connection.once("close", () => handlers.onClosed());
  }

  get queuedBytes(): number {
    return this.#connection.writableLength;
  }

  /** False once either side has said goodbye. */
  get isOpen(): boolean {
    return !this.#isClosing && !this.#connection.destroyed;
  }

  sendBytes(bytes: Buffer): void {
    this.#send("binary", bytes);
  }

  sendText(text: string): void {
    this.#send("text", Buffer.from(text));
  }

  setReading(reads: boolean): void {
    if (!reads) this.#connection.pause();
    else if (this.#connection.isPaused()) this.#connection.resume();
  }

  /** Behind all that was sent. A client that does not answer it is cut off after a while. */
  close(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.#send("close", closePayload(code, reason));
    this.#isClosing = true;
    // What the client still says is read, so that its own goodbye is found behind it.
    this.setReading(true);
    const timer = setTimeout(() => this.#connection.destroy(), closeMsMax);
    this.#connection.once("close", () => clearTimeout(timer));
  }

  #send(kind: "text" | "binary" | "pong" | "close", bytes: Buffer): void {
    if (!this.isOpen) return;
    const connection = this.#connection;
    connection.cork();
    connection.write(frameHeader(kind, bytes.length));
    connection.write(bytes);
    connection.uncork();
  }

  #onData(chunk: Buffer): void {
    if (this.#hasClientClosed) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#hasClientClosed = true;
      this.close(error.code, error.message);
      this.#connection.end();
    }
  }

  /** A client that pings faster than it reads gets fewer answers. */
  #onPing(payload: Buffer): void {
    if (!this.#connection.writableNeedDrain) this.#send("pong", payload);
  }

  #onClose(code: number | null): void {
    this.#hasClientClosed = true;
    this.close(code === null || code < 1000 || code > 4999 ? 1000 : code, "");
    this.#connection.end();
  }
}
