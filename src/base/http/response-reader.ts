/**
 * Reads HTTP/1.1 responses, of a sprite's agent and of a web server inside a sprite, which may be anything: what is ambiguous about a
 * message's length is refused, since two readers could disagree on it. Lines may end with a bare line feed, as small servers write them.
 * Node's own client would report a chunk that straddles two reads as two pieces, and HTTP exec counts on chunks (contract.md section 3.8).
 */

export interface ResponseHead {
  status: number;
  statusText: string;
  /** Names and values in turn, as they were sent. */
  headers: string[];
  /** HTTP/1.0: it takes no second request unless it says so. */
  isOld: boolean;
}

export interface ResponseHandler {
  /** 100 only: what it says to a client that waits with its body. Other interim answers are skipped. */
  onContinue?(): void;
  onHead(head: ResponseHead): void;
  onBody(bytes: Buffer): void;
  onEnd(trailers: readonly string[]): void;
  /** 101, with what came behind it. Nothing else is called after it. */
  onUpgrade?(head: ResponseHead, rest: Buffer): void;
}

/** Bytes, except for `interimMax`. */
export interface ResponseLimits {
  headMax: number;
  /** Of a line between chunks, and of one trailer. */
  lineMax: number;
  trailersMax: number;
  /** Answers before the answer, such as 100 and 103. */
  interimMax: number;
  /** Chunks up to this size are one `onBody`, though they come in several reads; of larger ones what comes is handed on. */
  wholeChunkMax: number;
}

export interface ResponseOptions {
  /** A response to HEAD has no body, whatever its headers say. */
  isHead: boolean;
  /** An upgrade was asked for; otherwise 101 is refused. */
  isUpgrade: boolean;
  limits: ResponseLimits;
}

/** What came is no HTTP/1.1 response, or one that could be read in two ways. */
export class ResponseSyntaxError extends Error {
  override readonly name = "ResponseSyntaxError";
}

type State =
  | "head"
  | "length"
  | "chunk-size"
  | "chunk"
  | "chunk-end"
  | "trailers"
  | "rest"
  | "done";

const empty = Buffer.alloc(0);
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

export class ResponseReader {
  readonly #handler: ResponseHandler;
  readonly #options: ResponseOptions;
  #state: State = "head";
  #pending: Buffer = empty;
  #hasExcess = false;
  #left = 0;
  #isWhole = false;
  /** Of a chunk that is to stay whole. */
  #pieces: Buffer[] = [];
  /** Of a head that comes in pieces: where no end of it was. */
  #searched = 0;
  #interim = 0;
  #trailers: string[] = [];
  #trailersBytes = 0;

  constructor(handler: ResponseHandler, options: ResponseOptions) {
    this.#handler = handler;
    this.#options = options;
  }

  get isDone(): boolean {
    return this.#state === "done";
  }

  /** What follows a response's end is no part of it, and nobody asked for it. */
  get hasExcess(): boolean {
    return this.#hasExcess;
  }

  /** Some of what was pushed waits here for what follows it: its memory is not free yet. */
  get holdsBytes(): boolean {
    return this.#pending.length > 0 || this.#pieces.length > 0;
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
    if (bytes.length > 0) this.#hasExcess = true;
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
      case "chunk":
        return this.#readBytes(bytes);
      case "chunk-size":
        return this.#readChunkSize(bytes);
      case "chunk-end":
      case "trailers":
        return this.#readLine(bytes);
      case "rest":
        this.#handler.onBody(bytes);
        return bytes.length;
      case "done":
        return 0;
    }
  }

  #readHead(bytes: Buffer): number {
    const { headMax, interimMax } = this.#options.limits;
    const end = headEnd(bytes, Math.max(0, this.#searched - 2));
    this.#searched = end < 0 ? bytes.length : 0;
    if (end < 0 || end > headMax) {
      if (end > headMax || bytes.length > headMax) {
        throw new ResponseSyntaxError("the response's headers are too large");
      }
      return 0;
    }
    const head = parseHead(bytes.toString("latin1", 0, end));
    if (head.status === 101) {
      if (!this.#options.isUpgrade) {
        throw new ResponseSyntaxError("an upgrade that nobody asked for");
      }
      this.#state = "done";
      this.#handler.onUpgrade?.(head, bytes.subarray(end));
      return bytes.length;
    }
    if (head.status < 200) {
      this.#interim += 1;
      if (this.#interim > interimMax) throw new ResponseSyntaxError("too many interim answers");
      if (head.status === 100) this.#handler.onContinue?.();
      return end;
    }
    this.#enterBody(head);
    this.#handler.onHead(head);
    if (this.#state === "length" && this.#left === 0) this.#finish();
    return end;
  }

  #enterBody(head: ResponseHead): void {
    const { status, headers } = head;
    const codings = valuesOf(headers, "transfer-encoding");
    const lengths = new Set(valuesOf(headers, "content-length"));
    this.#state = "length";
    this.#left = 0;
    const [length] = lengths;
    if (length !== undefined && (lengths.size > 1 || !/^\d{1,15}$/.test(length))) {
      throw new ResponseSyntaxError("a content-length that says nothing");
    }
    if (codings.length > 0 && length !== undefined) {
      throw new ResponseSyntaxError("both a length and a transfer coding");
    }
    if (codings.length > 1 || (codings[0] ?? "chunked").toLowerCase() !== "chunked") {
      throw new ResponseSyntaxError("an unknown transfer coding");
    }
    if (this.#options.isHead || status === 204 || status === 304) return;
    if (codings.length > 0) this.#state = "chunk-size";
    else if (length === undefined) this.#state = "rest";
    else this.#left = Number(length);
  }

  #readBytes(bytes: Buffer): number {
    const used = Math.min(this.#left, bytes.length);
    this.#left -= used;
    this.#handOn(used === bytes.length ? bytes : bytes.subarray(0, used));
    if (this.#left > 0) return used;
    if (this.#state === "chunk") this.#state = "chunk-end";
    else this.#finish();
    return used;
  }

  #handOn(piece: Buffer): void {
    if (!this.#isWhole || (this.#left === 0 && this.#pieces.length === 0)) {
      this.#handler.onBody(piece);
      return;
    }
    this.#pieces.push(piece);
    if (this.#left > 0) return;
    const chunk = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#handler.onBody(chunk);
  }

  #readChunkSize(bytes: Buffer): number {
    const line = takeLine(bytes, this.#options.limits.lineMax);
    if (line === null) return 0;
    const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(line.text)?.[1];
    if (size === undefined) throw new ResponseSyntaxError("a chunk without a size");
    this.#left = Number.parseInt(size, 16);
    this.#isWhole = this.#left <= this.#options.limits.wholeChunkMax;
    this.#state = this.#left === 0 ? "trailers" : "chunk";
    return line.used;
  }

  /** The line end after a chunk, a trailer, or the empty line that ends all. */
  #readLine(bytes: Buffer): number {
    const line = takeLine(bytes, this.#options.limits.lineMax);
    if (line === null) return 0;
    if (this.#state === "chunk-end") {
      if (line.text !== "") throw new ResponseSyntaxError("a chunk longer than its size");
      this.#state = "chunk-size";
      return line.used;
    }
    if (line.text === "") {
      this.#finish();
      return line.used;
    }
    this.#trailersBytes += line.used;
    if (this.#trailersBytes > this.#options.limits.trailersMax) {
      throw new ResponseSyntaxError("too many trailers");
    }
    this.#trailers.push(...parseHeaderLine(line.text));
    return line.used;
  }

  #finish(): void {
    this.#state = "done";
    this.#handler.onEnd(this.#trailers);
  }
}

/** Behind the empty line that ends a head, whichever line ends the server writes; -1 when it has not come. */
function headEnd(bytes: Buffer, from: number): number {
  const usual = bytes.indexOf("\n\r\n", from);
  const bare = (usual < 0 ? bytes : bytes.subarray(0, usual + 1)).indexOf("\n\n", from);
  if (bare >= 0) return bare + 2;
  return usual < 0 ? -1 : usual + 3;
}

function takeLine(bytes: Buffer, lineMax: number): { text: string; used: number } | null {
  const end = bytes.indexOf(lineFeed);
  if (end > lineMax || (end < 0 && bytes.length > lineMax)) {
    throw new ResponseSyntaxError("a line that is too long");
  }
  if (end < 0) return null;
  const textEnd = end > 0 && bytes[end - 1] === carriageReturn ? end - 1 : end;
  return { text: bytes.toString("latin1", 0, textEnd), used: end + 1 };
}

function parseHead(text: string): ResponseHead {
  // Behind the empty line there is one more to the split.
  const [statusLine = "", ...lines] = text.split(/\r?\n/).slice(0, -2);
  const match = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([^\r\0]*))?$/.exec(statusLine);
  if (match === null) throw new ResponseSyntaxError("no HTTP/1.1 response");
  const headers: string[] = [];
  for (const line of lines) headers.push(...parseHeaderLine(line));
  return { status: Number(match[2]), statusText: match[3] ?? "", headers, isOld: match[1] === "0" };
}

const headerLinePattern = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

function parseHeaderLine(line: string): [string, string] {
  const match = headerLinePattern.exec(line);
  if (match === null) throw new ResponseSyntaxError("a header that is none");
  return [match[1] ?? "", withoutBlanks(match[2] ?? "")];
}

/** Of the end, blanks only: `trimEnd` would take half of a UTF-8 letter such as à (c3 a0). */
function withoutBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === " " || text[end - 1] === "\t")) end -= 1;
  return text.slice(0, end);
}

function valuesOf(headers: readonly string[], lowerCaseName: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    if (name.length !== lowerCaseName.length || name.toLowerCase() !== lowerCaseName) continue;
    values.push(...(headers[index + 1] ?? "").split(",").map((value) => value.trim()));
  }
  return values;
}
