/**
 * What of a message's head goes on to the other side, and what belongs to this connection only (RFC
 * 9110, section 7.6.1).
 */

import type { IncomingMessage } from "node:http";

import { connectionOptions, hopByHop } from "../../base/http/hop-by-hop.ts";
import type { ResponseHead } from "../../base/http/response-reader.ts";
import { headerLines } from "../../base/raw-response.ts";

/** The platform token must never reach code inside of a sprite; the request id is ours to give. */
const neverForwarded: ReadonlySet<string> = new Set(["authorization", "x-request-id", "expect"]);

/** Headers that the front door adds to every response, lower-case name to value. */
export type AddedHeaders = Readonly<Record<string, string>>;

export interface RequestHeadOptions {
  /** The raw path and query. */
  target: string;
  requestId: string;
}

/**
 * The head of a request that the agent answers with a response; its body follows as
 * `transfer-encoding` or length say.
 */
export function plainRequestHead(request: IncomingMessage, options: RequestHeadOptions): string {
  const lines = forwardedHeaders(request.rawHeaders, neverForwarded);
  lines.push("connection", "keep-alive");
  if (hasChunkedBody(request)) lines.push("transfer-encoding", "chunked");
  return requestHead(request, options, lines);
}

/** The head of a WebSocket handshake. */
export function upgradeRequestHead(request: IncomingMessage, options: RequestHeadOptions): string {
  const lines = forwardedHeaders(request.rawHeaders, neverForwarded);
  lines.push("connection", "Upgrade", "upgrade", "websocket");
  return requestHead(request, options, lines);
}

export function hasChunkedBody(request: IncomingMessage): boolean {
  return request.headers["transfer-encoding"] !== undefined;
}

function requestHead(
  request: IncomingMessage,
  options: RequestHeadOptions,
  headers: readonly string[],
): string {
  const { target, requestId } = options;
  const id = ["x-request-id", requestId];
  return `${request.method} ${target} HTTP/1.1\r\n${headerLines([...headers, ...id])}\r\n`;
}

/**
 * The headers of an agent's response as the client gets them. The agent's own `Sprite-Version` wins
 * over ours.
 */
export function responseHeaders(head: ResponseHead, added: AddedHeaders): string[] {
  const headers = forwardedHeaders(head.headers, new Set(["x-request-id"]));
  for (const [name, value] of Object.entries(added)) {
    if (headerValue(headers, name) === null) headers.push(name, value);
  }
  return headers;
}

export function upgradeResponseHead(head: ResponseHead, added: AddedHeaders): string {
  const headers = responseHeaders(head, added);
  headers.push("Connection", "Upgrade", "Upgrade", "websocket");
  return `HTTP/1.1 101 Switching Protocols\r\n${headerLines(headers)}\r\n`;
}

/** Without hop-by-hop headers, those that `Connection` names included. */
function forwardedHeaders(headers: readonly string[], dropped: ReadonlySet<string>): string[] {
  const named = connectionOptions(headers);
  const kept: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const key = name.toLowerCase();
    if (hopByHop.has(key) || named.has(key) || dropped.has(key)) continue;
    kept.push(name, headers[index + 1] ?? "");
  }
  return kept;
}

/** The first value of a header, in a list of names and values in turn. */
function headerValue(headers: readonly string[], lowerCaseName: string): string | null {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() === lowerCaseName) return headers[index + 1] ?? null;
  }
  return null;
}
