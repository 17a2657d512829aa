/**
 * HTTP/1.1 as bytes, for sockets that Node's HTTP server has let go of: upgrades that are refused,
 * and requests that it could not read.
 */
import { STATUS_CODES } from "node:http";

export interface RawResponse {
  status: number;
  /** Names and values in turn. */
  headers: readonly string[];
  body: Uint8Array;
}

/** The last thing that goes over its connection, and says so. */
export function encodeRawResponse(response: RawResponse): Buffer {
  const { status, headers, body } = response;
  const ending = ["Content-Length", String(body.byteLength), "Connection", "close"];
  const statusLine = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n`;
  const head = `${statusLine}${headerLines([...headers, ...ending])}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

export function rawJsonResponse(
  status: number,
  body: object,
  added: Readonly<Record<string, string>>,
): Buffer {
  const headers = ["Content-Type", "application/json", ...Object.entries(added).flat()];
  return encodeRawResponse({ status, headers, body: Buffer.from(JSON.stringify(body)) });
}

/** Names and values in turn, as lines. */
export function headerLines(headers: readonly string[]): string {
  let text = "";
  for (let index = 0; index + 1 < headers.length; index += 2) {
    text += `${headers[index]}: ${headers[index + 1]}\r\n`;
  }
  return text;
}
