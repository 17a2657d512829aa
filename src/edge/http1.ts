import type { IncomingMessage, ServerResponse } from "node:http";

import type { Downstream } from "./downstream.ts";
import { refusedBodyMsMax } from "./limits.ts";

export class Http1Downstream implements Downstream {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #hasBody = false;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    response.on("error", () => response.destroy());
    request.on("error", () => response.destroy());
  }

  get isClosed(): boolean {
    return this.#response.closed || this.#response.destroyed;
  }

  respond(status: number, headers: readonly string[], { bodyless }: { bodyless: boolean }): void {
    const response = this.#response;
    response.writeHead(status, [...headers]);
    if (bodyless) return;
    // With the first bytes, if they are here already; else they may be long in coming, and the head is news by itself.
    process.nextTick(() => {
      if (!this.#hasBody && !this.isClosed) response.flushHeaders();
    });
  }

  sendContinue(): void {
    // One that did not ask may take it for the answer.
    const isWaiting = this.#request.headers.expect !== undefined;
    if (isWaiting && !this.#response.headersSent) this.#response.writeContinue();
  }

  write(bytes: Buffer): boolean {
    this.#hasBody = true;
    return this.#response.write(bytes);
  }

  end(trailers: readonly string[]): void {
    this.#hasBody = true;
    const response = this.#response;
    if (trailers.length > 0 && response.chunkedEncoding) {
      const pairs: [string, string][] = [];
      for (let index = 0; index < trailers.length; index += 2) {
        pairs.push([trailers[index] ?? "", trailers[index + 1] ?? ""]);
      }
      response.addTrailers(pairs);
    }
    response.end();
    this.#boundRest();
  }

  abort(): void {
    this.#response.destroy();
  }

  readBody(listener: { onBytes(bytes: Buffer): void; onEnd(): void }): void {
    this.#request.on("data", (bytes: Buffer) => listener.onBytes(bytes));
    this.#request.once("end", () => listener.onEnd());
  }

  setReading(reads: boolean): void {
    if (reads) this.#request.resume();
    else this.#request.pause();
  }

  onDrain(listener: () => void): void {
    this.#response.on("drain", listener);
  }

  onClose(listener: () => void): void {
    this.#response.once("close", listener);
  }

  /** What a client still sends behind its answer is read for a moment: closed on it, it would lose the answer. */
  #boundRest(): void {
    const { socket } = this.#request;
    if (this.#request.complete) return;
    this.#request.resume();
    const timer = setTimeout(() => socket.destroy(), refusedBodyMsMax);
    this.#request.once("end", () => clearTimeout(timer));
    this.#request.once("close", () => clearTimeout(timer));
  }
}
