/** Longest chunk: contract.md section 3.8 has frames of at most about 16 KiB. */
const chunkSizeBytesMax = 16 * 1024 * 1024;
const headSizeBytesMax = 64 * 1024;

export interface ResponseHead {
  status: number;
  headers: ReadonlyMap<string, string>;
}

export type ResponsePart =
  | { kind: "head"; head: ResponseHead }
  | { kind: "chunk"; bytes: Buffer }
  | { kind: "end" };

type State = "head" | "size" | "data" | "trailer" | "rest" | "done";

/**
 * Reads one HTTP/1.1 response and keeps the borders of its chunks: in HTTP exec a chunk is a frame
 * (contract.md section 3.8), and ordinary clients may join or split chunks.
 */
export class ChunkedDecoder {
  #buffer: Buffer = Buffer.alloc(0);
  #state: State = "head";
  #chunkSizeBytes = 0;

  /** Takes bytes as they arrive and returns the parts that are complete. Throws on what is not HTTP. */
  push(bytes: Buffer): ResponsePart[] {
    this.#buffer = this.#buffer.byteLength === 0 ? bytes : Buffer.concat([this.#buffer, bytes]);
    const parts: ResponsePart[] = [];
    while (this.#step(parts)) {
      // Each step takes one head, size line, chunk or trailer line from the buffer.
    }
    return parts;
  }

  /** True when the body had no chunks and so ends with the connection. */
  get endsWithConnection(): boolean {
    return this.#state === "rest";
  }

  #step(parts: ResponsePart[]): boolean {
    if (this.#state === "head") return this.#readHead(parts);
    if (this.#state === "size") return this.#readSize();
    if (this.#state === "data") return this.#readData(parts);
    if (this.#state === "trailer") return this.#readTrailer(parts);
    if (this.#state === "rest" && this.#buffer.byteLength > 0) {
      parts.push({ kind: "chunk", bytes: this.#buffer });
      this.#buffer = Buffer.alloc(0);
    }
    return false;
  }

  #readHead(parts: ResponsePart[]): boolean {
    const end = this.#buffer.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#buffer.byteLength > headSizeBytesMax) throw new Error("the head is too long");
      return false;
    }
    const head = parseHead(this.#buffer.toString("latin1", 0, end));
    this.#buffer = this.#buffer.subarray(end + 4);
    // 100 Continue and its like only announce the real head.
    if (head.status < 200) return true;
    const isChunked = /\bchunked\b/i.test(head.headers.get("transfer-encoding") ?? "");
    this.#state = isChunked ? "size" : "rest";
    parts.push({ kind: "head", head });
    return true;
  }

  #readSize(): boolean {
    const line = this.#takeLine();
    if (line === undefined) return false;
    const digits = /^([0-9a-f]{1,8})\s*(?:;.*)?$/i.exec(line)?.[1];
    const size = digits === undefined ? Number.NaN : Number.parseInt(digits, 16);
    if (!(size <= chunkSizeBytesMax)) throw new Error("a chunk has no legal size");
    this.#chunkSizeBytes = size;
    this.#state = size === 0 ? "trailer" : "data";
    return true;
  }

  #readData(parts: ResponsePart[]): boolean {
    if (this.#buffer.byteLength < this.#chunkSizeBytes + 2) return false;
    parts.push({ kind: "chunk", bytes: this.#buffer.subarray(0, this.#chunkSizeBytes) });
    this.#buffer = this.#buffer.subarray(this.#chunkSizeBytes + 2);
    this.#state = "size";
    return true;
  }

  #readTrailer(parts: ResponsePart[]): boolean {
    const line = this.#takeLine();
    if (line === undefined) return false;
    if (line !== "") return true;
    this.#state = "done";
    parts.push({ kind: "end" });
    return false;
  }

  #takeLine(): string | undefined {
    const end = this.#buffer.indexOf("\r\n");
    if (end < 0) {
      if (this.#buffer.byteLength > headSizeBytesMax) throw new Error("a line is too long");
      return undefined;
    }
    const line = this.#buffer.toString("latin1", 0, end);
    this.#buffer = this.#buffer.subarray(end + 2);
    return line;
  }
}

function parseHead(text: string): ResponseHead {
  const [first = "", ...lines] = text.split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1];
  if (status === undefined) throw new Error("the answer is not HTTP");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}
