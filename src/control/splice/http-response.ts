/**
 * Reads one HTTP/1.1 response from an agent. Node's own client would do, but it reports a chunk
 * that straddles two reads as two pieces, and HTTP exec counts on chunk boundaries (contract.md
 * section 3.8).
 */

import { responseHeadSizeBytesMax, wholeChunkSizeBytesMax } from "./limits.ts";

export interface ResponseHead {
  status: number;
  statusText: string;
  /** Names and values in turn, as they were sent. */
  headers: string[];
}

export interface ResponseHandler {
  onHead(head: ResponseHead): void;
  onBody(bytes: Buffer): void;
  onEnd(): void;
  /** Bytes after a 101's head belong to the new protocol. */
  onUpgrade(rest: Buffer): void;
}

/** The agent did not speak HTTP/1.1: a bug on its side. */
export class ResponseSyntaxError extends Error {
  override readonly name = "ResponseSyntaxError";
}

const chunkLineLengthMax = 1024;
const empty = Buffer.alloc(0);
const headEnd = Buffer.from("\r\n\r\n");

type State =
  | "head"
  | "length"
  | "chunk-line"
  | "chunk-data"
  | "chunk-end"
  | "trailer"
  | "rest"
  | "done";

export class ResponseReader {
  readonly #handler: ResponseHandler;
  readonly #bodyless: boolean;
  #state: State = "head";
  #pending: Buffer = empty;
  #left = 0;
  #pieces: Buffer[] = [];
  #whole = false;

  /** @param requestMethod a response to HEAD has no body, whatever its headers say */
  constructor(requestMethod: string, handler: ResponseHandler) {
    this.#bodyless = requestMethod === "HEAD";
    this.#handler = handler;
  }

  /** @throws ResponseSyntaxError */
  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#pending.length > 0) {
      bytes = Buffer.concat([this.#pending, chunk]);
      this.#pending = empty;
    }
    while (bytes.length > 0 && this.#state !== "done") {
      const used = this.#step(bytes);
      if (used === 0) {
        this.#pending = bytes;
        return;
      }
      bytes = bytes.subarray(used);
    }
  }

  /** Some of what was pushed waits here for what follows it. */
  get holdsBytes(): boolean {
    return this.#pending.length > 0 || this.#pieces.length > 0;
  }

  /** The connection has ended. False when the response was cut off. */
  end(): boolean {
    if (this.#state === "rest") this.#finish();
    return this.#state === "done";
  }

  /** Takes what it can from the start; 0 asks for more bytes. */
  #step(bytes: Buffer): number {
    switch (this.#state) {
      case "head":
        return this.#readHead(bytes);
      case "length":
        return this.#readLength(bytes);
      case "chunk-line":
        return this.#readChunkLine(bytes);
      case "chunk-data":
        return this.#readChunkData(bytes);
      case "chunk-end":
      case "trailer":
        return this.#readLineEnd(bytes);
      case "rest":
        this.#handler.onBody(bytes);
        return bytes.length;
      case "done":
        return bytes.length;
    }
  }

  #readHead(bytes: Buffer): number {
    const end = bytes.indexOf(headEnd);
    if (end < 0 || end > responseHeadSizeBytesMax) {
      if (bytes.length > responseHeadSizeBytesMax) throw new ResponseSyntaxError("head too long");
      return 0;
    }
    const head = parseResponseHead(bytes.toString("latin1", 0, end));
    const used = end + headEnd.length;
    if (head.status === 101) {
      this.#state = "done";
      this.#handler.onHead(head);
      this.#handler.onUpgrade(bytes.subarray(used));
      return bytes.length;
    }
    // Interim answers such as 100 say nothing that the client waits for.
    if (head.status < 200) return used;
    this.#enterBody(head);
    this.#handler.onHead(head);
    if (this.#state === "length" && this.#left === 0) this.#finish();
    return used;
  }

  #enterBody(head: ResponseHead): void {
    const { status } = head;
    const length = headerValue(head.headers, "content-length");
    this.#state = "length";
    this.#left = 0;
    if (this.#bodyless || status === 204 || status === 304) return;
    if (headerValue(head.headers, "transfer-encoding")?.toLowerCase() === "chunked") {
      this.#state = "chunk-line";
    } else if (length === null) {
      this.#state = "rest";
    } else if (/^\d{1,15}$/.test(length)) {
      this.#left = Number(length);
    } else {
      throw new ResponseSyntaxError("bad content-length");
    }
  }

  #readLength(bytes: Buffer): number {
    const used = Math.min(this.#left, bytes.length);
    this.#left -= used;
    this.#handler.onBody(used === bytes.length ? bytes : bytes.subarray(0, used));
    if (this.#left === 0) this.#finish();
    return used;
  }

  #readChunkLine(bytes: Buffer): number {
    const end = lineEnd(bytes);
    if (end < 0) return 0;
    const size = /^[0-9a-fA-F]{1,12}(?=[;\s]|$)/.exec(bytes.toString("latin1", 0, end))?.[0];
    if (size === undefined) throw new ResponseSyntaxError("bad chunk size");
    this.#left = Number.parseInt(size, 16);
    this.#whole = this.#left <= wholeChunkSizeBytesMax;
    this.#state = this.#left === 0 ? "trailer" : "chunk-data";
    return end + 2;
  }

  #readChunkData(bytes: Buffer): number {
    const used = Math.min(this.#left, bytes.length);
    const piece = bytes.subarray(0, used);
    this.#left -= used;
    if (this.#left === 0) this.#state = "chunk-end";
    if (!this.#whole || (this.#pieces.length === 0 && this.#left === 0)) {
      this.#handler.onBody(piece);
      return used;
    }
    this.#pieces.push(piece);
    if (this.#left === 0) {
      const chunk = Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.#handler.onBody(chunk);
    }
    return used;
  }

  /** The line end after a chunk, a trailer (which is dropped), or the empty line that ends all. */
  #readLineEnd(bytes: Buffer): number {
    const end = lineEnd(bytes);
    if (end < 0) return 0;
    if (this.#state === "chunk-end") {
      if (end !== 0) throw new ResponseSyntaxError("chunk longer than its size");
      this.#state = "chunk-line";
    } else if (end === 0) {
      this.#finish();
    }
    return end + 2;
  }

  #finish(): void {
    this.#state = "done";
    this.#handler.onEnd();
  }
}

function lineEnd(bytes: Buffer): number {
  const end = bytes.indexOf("\r\n");
  if (end > chunkLineLengthMax || (end < 0 && bytes.length > chunkLineLengthMax)) {
    throw new ResponseSyntaxError("line too long");
  }
  return end;
}

function parseResponseHead(text: string): ResponseHead {
  const [statusLine = "", ...lines] = text.split("\r\n");
  const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(statusLine);
  if (match === null) throw new ResponseSyntaxError("bad status line");
  const headers: string[] = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new ResponseSyntaxError("bad header line");
    headers.push(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return { status: Number(match[1]), statusText: match[2] ?? "", headers };
}

/** The first value of a header, by its lower-case name, in a list of names and values in turn. */
export function headerValue(headers: readonly string[], lowerCaseName: string): string | null {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() === lowerCaseName) return headers[index + 1] ?? null;
  }
  return null;
}
