import { constants, type ServerHttp2Stream } from "node:http2";

import type { Downstream } from "./downstream.ts";
import { refusedBodyMsMax } from "./limits.ts";

export class Http2Downstream implements Downstream {
  readonly #stream: ServerHttp2Stream;
  readonly #isHead: boolean;
  #trailers: readonly string[] = [];
  #hasEnded = false;

  constructor(stream: ServerHttp2Stream, options: { isHead: boolean }) {
    this.#stream = stream;
    this.#isHead = options.isHead;
    // What goes wrong closes it, which is heard.
    stream.on("error", () => undefined);
  }

  get isClosed(): boolean {
    return this.#stream.closed || this.#stream.destroyed;
  }

  respond(status: number, headers: readonly string[], { bodyless }: { bodyless: boolean }): void {
    const stream = this.#stream;
    if (this.isClosed) return;
    const endStream = bodyless && !this.#isHead;
    stream.respond(toHttp2Headers(status, headers), { endStream, waitForTrailers: !bodyless });
    stream.once("wantTrailers", () => {
      stream.sendTrailers(toObject(this.#trailers));
    });
  }

  sendContinue(): void {
    if (!this.isClosed) this.#stream.additionalHeaders({ ":status": 100 });
  }

  write(bytes: Buffer): boolean {
    if (this.isClosed || this.#isHead) return true;
    return this.#stream.write(bytes);
  }

  end(trailers: readonly string[]): void {
    const stream = this.#stream;
    this.#trailers = trailers;
    this.#hasEnded = true;
    if (this.isClosed) return;
    stream.end();
    if (stream.readableEnded || stream.endAfterHeaders) return;
    // What a client still sends behind its answer is read for a moment, and then refused.
    stream.resume();
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), refusedBodyMsMax);
    stream.once("close", () => clearTimeout(timer));
  }

  abort(): void {
    if (!this.#hasEnded) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  readBody(listener: { onBytes(bytes: Buffer): void; onEnd(): void }): void {
    this.#stream.on("data", (bytes: Buffer) => listener.onBytes(bytes));
    this.#stream.once("end", () => {
      // Node ends one that the client took back like one that is whole; the sprite must not take it for that.
      const isWhole = this.#stream.state.remoteClose === 1;
      if (isWhole) listener.onEnd();
    });
  }

  setReading(reads: boolean): void {
    if (reads) this.#stream.resume();
    else this.#stream.pause();
  }

  onDrain(listener: () => void): void {
    this.#stream.on("drain", listener);
  }

  onClose(listener: () => void): void {
    this.#stream.once("close", listener);
  }
}

export function toHttp2Headers(
  status: number,
  headers: readonly string[],
): Record<string, string | string[] | number> {
  return { ...toObject(headers), ":status": status };
}

function toObject(headers: readonly string[]): Record<string, string | string[]> {
  const result = Object.create(null) as Record<string, string | string[]>;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const value = headers[index + 1] ?? "";
    const before = result[name];
    if (before === undefined) result[name] = value;
    else result[name] = Array.isArray(before) ? [...before, value] : [before, value];
  }
  return result;
}
