import type { Socket } from "node:net";

import {
  ResponseReader,
  type ResponseHandler,
  type ResponseHead,
} from "../../base/http/response-reader.ts";
import { responseLimits } from "../limits.ts";

/** Why a response does not come, or not whole. */
export interface UpstreamFailure {
  /** The connection ended before anything of the response had come. */
  isUnanswered: boolean;
  error: Error;
}

export interface UpstreamHandler extends ResponseHandler {
  /** Called at most once, and nothing after it. */
  onFailure(failure: UpstreamFailure): void;
  /** More of the request's body may be written. */
  onDrain(): void;
}

/** One connection to a web server inside a sprite; carries one request at a time. */
export class UpstreamConnection {
  readonly socket: Socket;
  /** It has carried a request before, so its server may be about to close it. */
  wasUsed = false;
  idleSinceMs = 0;
  #handler: UpstreamHandler | null = null;
  #reader: ResponseReader | null = null;
  #hasAnswered = false;
  #keepsAlive = false;
  #isRequestSent = false;
  #onGone: () => void = () => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => this.#onData(bytes));
    socket.on("drain", () => this.#handler?.onDrain());
    socket.once("end", () => this.#onEnded(new Error("the web server closed the connection")));
    socket.on("error", (error) => this.#onEnded(error));
    socket.once("close", () => {
      this.#onEnded(new Error("the connection to the web server was closed"));
      this.#onGone();
    });
    socket.resume();
  }

  /** Sends a request's head. Its body follows by `write`, and `finish`. */
  begin(
    head: string,
    request: { isHead: boolean; isUpgrade: boolean },
    handler: UpstreamHandler,
  ): void {
    this.#handler = handler;
    this.#reader = new ResponseReader(this.#intercept(handler), {
      ...request,
      limits: responseLimits,
    });
    this.#hasAnswered = false;
    this.#keepsAlive = false;
    this.#isRequestSent = false;
    this.socket.write(head, "latin1");
  }

  /** False: wait for `onDrain`. */
  write(bytes: Buffer | string): boolean {
    return this.socket.destroyed ? true : this.socket.write(bytes, "latin1");
  }

  /** The request is whole. */
  finish(): void {
    this.#isRequestSent = true;
  }

  setReading(reads: boolean): void {
    if (reads) this.socket.resume();
    else this.socket.pause();
  }

  /** Whether it can carry another request, now that one is over. */
  get isReusable(): boolean {
    const { socket } = this;
    const isOver = this.#reader?.isDone === true && this.#isRequestSent;
    return (
      isOver && this.#keepsAlive && !this.#reader?.hasExcess && !socket.destroyed && socket.writable
    );
  }

  /** Nothing has happened to it while it was kept. */
  get isUsable(): boolean {
    return !this.socket.destroyed && this.socket.writable && this.#handler === null;
  }

  /** From now on nobody hears of it, until the next request. */
  release(): void {
    this.#handler = null;
    this.wasUsed = true;
    // Its last reader may have been slow.
    this.socket.resume();
  }

  onGone(listener: () => void): void {
    this.#onGone = listener;
  }

  destroy(): void {
    this.#handler = null;
    this.socket.destroy();
  }

  #intercept(handler: UpstreamHandler): ResponseHandler {
    const note = (head: ResponseHead): void => {
      this.#hasAnswered = true;
      this.#keepsAlive = keepsAlive(head);
    };
    return {
      onContinue: () => {
        this.#hasAnswered = true;
        handler.onContinue?.();
      },
      onHead: (head) => {
        note(head);
        handler.onHead(head);
      },
      onBody: (bytes) => handler.onBody(bytes),
      onEnd: (trailers) => handler.onEnd(trailers),
      onUpgrade: (head, rest) => {
        note(head);
        this.#handler = null;
        this.socket.removeAllListeners("data");
        this.socket.removeAllListeners("end");
        this.socket.removeAllListeners("drain");
        this.socket.pause();
        handler.onUpgrade?.(head, rest);
      },
    };
  }

  #onData(bytes: Buffer): void {
    const handler = this.#handler;
    // Bytes that nobody asked for: whatever they are, the next response would begin with them.
    if (handler === null || this.#reader === null) {
      this.socket.destroy();
      return;
    }
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #onEnded(error: Error): void {
    const handler = this.#handler;
    if (handler === null || this.#reader === null) {
      this.socket.destroy();
      return;
    }
    this.#keepsAlive = false;
    if (this.#reader.isDone) return;
    try {
      if (this.#reader.end()) return;
    } catch (cause) {
      this.#fail(cause as Error);
      return;
    }
    this.#fail(error);
  }

  #fail(error: Error): void {
    const handler = this.#handler;
    this.#handler = null;
    this.socket.destroy();
    handler?.onFailure({ isUnanswered: !this.#hasAnswered, error });
  }
}

function keepsAlive({ headers, isOld, status }: ResponseHead): boolean {
  let isFramed = status === 204 || status === 304;
  let says = isOld ? "close" : "keep-alive";
  for (let index = 0; index < headers.length; index += 2) {
    const name = (headers[index] ?? "").toLowerCase();
    if (name === "content-length" || name === "transfer-encoding") isFramed = true;
    if (name === "connection") says = (headers[index + 1] ?? "").toLowerCase();
  }
  return isFramed && (isOld ? says.includes("keep-alive") : !says.includes("close"));
}
