import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import { rawJsonResponse } from "../../base/raw-response.ts";
import { errorResponse, SpriteError } from "../../contract/errors.ts";
import { jsonBodySizeBytesMax } from "../../contract/limits.ts";
import { encodeNdjsonLine, ndjsonContentType } from "../../contract/ndjson.ts";
import { refusedDrainBytesMax, refusedDrainMs } from "./limits.ts";
import { parseJsonBody } from "../../contract/validate.ts";

const jsonContentType = "application/json";
export const versionHeader = "Sprite-Version";
export const capabilitiesHeader = "X-Sprite-Capabilities";

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "Content-Type": jsonContentType,
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

export function sendNoContent(response: ServerResponse): void {
  response.writeHead(204);
  response.end();
}

/**
 * Answers with an error, or breaks off a response that has begun, so that its reader sees that it
 * is not whole.
 */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, body } = errorResponse(error);
  if (!response.req.complete) dropRest(response.req);
  sendJson(response, status, body);
}

/**
 * What a client still sends is read and dropped for a while: a connection that is closed on it is
 * reset, and the answer lost.
 */
function dropRest(request: IncomingMessage): void {
  let rest = refusedDrainBytesMax;
  const timer = setTimeout(() => request.destroy(), refusedDrainMs);
  request.on("data", (bytes: Buffer) => {
    rest -= bytes.length;
    if (rest < 0) request.destroy();
  });
  request.once("close", () => clearTimeout(timer));
  request.once("end", () => clearTimeout(timer));
  // Whoever read it before may have left it paused.
  request.resume();
}

/** An error response on a bare socket, for upgrades and for requests that Node could not parse. */
export function writeRawError(
  socket: Duplex,
  error: unknown,
  headers: Readonly<Record<string, string>>,
): void {
  if (!socket.writable) return;
  const { status, body } = errorResponse(error);
  socket.end(rawJsonResponse(status, body, headers));
}

export interface NdjsonStream {
  send(line: Readonly<Record<string, unknown>>): void;
  /** Lines that are encoded already; resolves once the client takes more, also when it is gone. */
  sendEncoded(lines: Buffer): Promise<void>;
  end(): void;
  /** What its reader has not taken yet. */
  readonly queuedBytes: number;
  /** Settles when the reader has taken most of it, or is gone. */
  drained(): Promise<void>;
  /** Aborted when the client is gone before the end. */
  readonly signal: AbortSignal;
}

/** Begins a response of one JSON object a line, each on its way at once. */
export function openNdjson(response: ServerResponse): NdjsonStream {
  const abort = new AbortController();
  response.on("close", () => {
    if (!response.writableFinished) abort.abort();
  });
  response.writeHead(200, { "Content-Type": ndjsonContentType, "Cache-Control": "no-store" });
  response.flushHeaders();
  return {
    send(line) {
      if (!abort.signal.aborted) response.write(encodeNdjsonLine(line));
    },
    async sendEncoded(lines) {
      if (abort.signal.aborted || response.write(lines)) return;
      await whenDrained(response);
    },
    end() {
      response.end();
    },
    get queuedBytes() {
      return response.writableLength;
    },
    async drained() {
      if (!abort.signal.aborted) await whenDrained(response);
    },
    signal: abort.signal,
  };
}

/** Resolves once a response takes more, also when nobody reads it any more. */
export function whenDrained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      response.off("drain", settle);
      response.off("close", settle);
      resolve();
    };
    response.on("drain", settle);
    response.on("close", settle);
  });
}

/** Reads a whole body. @throws SpriteError payload_too_large */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > jsonBodySizeBytesMax) {
      throw new SpriteError("payload_too_large", "the request's body is too large", {
        details: { limit: jsonBodySizeBytesMax },
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Reads a JSON body; an empty one is an empty object. @throws SpriteError payload_too_large,
 * invalid_request
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  return parseJsonBody(await readBody(request));
}

/** Aborted when the client goes away before it has its answer. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const abort = new AbortController();
  response.on("close", () => {
    if (!response.writableFinished) abort.abort(new Error("the client is gone"));
  });
  return abort.signal;
}
